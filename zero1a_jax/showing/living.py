"""What avatar.html holds: the embedded head's rig, or a few baked poses of a head that is not ours to give.

FLAME's licence does not let its bases and skinning go out with a page, so that an avatar on it is shown in
poses whose Gaussians lie in the world.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import files, record, synthetic
from zero1a_jax.avatar import pose as pose_avatar
from zero1a_jax.errors import Refused
from zero1a_jax.flame import frame_target
from zero1a_jax.flame.model import JOINTS, shaped_template
from zero1a_jax.flame.procedural import VERSION
from zero1a_jax.outputs import page
from zero1a_jax.provenance import Provenance, of_avatar
from zero1a_jax.showing import poses
from zero1a_jax.sources import motions as motion_files
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Array, FlameModel, FlameParams, Gaussians, Motion

PAGE = "avatar.html"
FPS = 25.0
TALK = 250  # frames of the seeded motion
LONGEST = 750  # frames of a motion of the user's, after which it is cut
_FOV = math.radians(20.0)  # geometry.portrait_camera's
_OVERLAP = 12  # frames over which the seeded motion comes back to its start
_WHY = (
    "This avatar stands on {version}. The licence of that head does not allow its blendshapes and skinning "
    "in a page that is passed on, so there are no sliders here: these are poses that were computed "
    "beforehand, and what lies between them."
)


def text(
    loaded: Loaded,
    *,
    name: str,
    motions: Mapping[str, Motion] | None = None,
    provenance: Provenance | None = None,
) -> str:
    """The page as HTML.

    Args:
      loaded: the avatar; of `meta` its background (r, g, b in 0..1), caption and seed are used.
      name: the heading, where the avatar has no caption.
      motions: by name, of the avatar's head, to play beside our own; a baked head plays its own alone.
      provenance: see `outputs.page.text`.
    """
    alive = np.asarray(loaded.avatar.alive, bool)
    rigged = is_free(loaded.model)
    given = _rig(loaded, alive, motions or {}) if rigged else _baked(loaded, alive)
    behind = loaded.meta.get("background")
    common = {
        "fov": _FOV,
        "target": np.asarray(frame_target(loaded.model, loaded.avatar.shape)).tolist(),
        "background": [1.0, 1.0, 1.0] if behind is None else np.asarray(behind, float).tolist(),
    }
    caption = str(loaded.meta.get("caption") or name)
    why = "" if rigged else _WHY.format(version=loaded.model.version)
    return page.text(
        common | given,
        title=caption[:1].upper() + caption[1:],
        subtitle=f"{alive.sum():,} Gaussians",
        why=why,
        provenance=provenance,
    )


def write(
    loaded: Loaded,
    folder: str | os.PathLike,
    *,
    motions: Sequence[str | os.PathLike] = (),
    overwrite: bool = False,
) -> Path:
    """Writes avatar.html to `folder` and returns its path.

    `motions` are files for it to play, see `sources.motions`; `overwrite` replaces also a page there that we
    did not write. Raises Refused where that is not allowed, or for motions of a head that is baked.
    """
    folder, model = Path(folder).expanduser(), loaded.model
    record.refuse(folder, [PAGE], overwrite=overwrite)
    if motions and not is_free(model):
        raise Refused(
            f"the page of an avatar on {model.version} plays its own poses alone: leave motions out"
        )
    played = {
        Path(path).name: motion_files.load(
            path, model, arkit=loaded.arkit, shape=loaded.avatar.shape, root="drop"
        )
        for path in motions
    }
    page_text = text(loaded, name=folder.name, motions=played, provenance=of_avatar(loaded.meta))
    with record.writing(folder, [PAGE], overwrite=overwrite) as unfinished:
        files.write_text(unfinished / PAGE, page_text)
    return folder / PAGE


def is_free(model: FlameModel) -> bool:
    """Whether a head is ours, so that its rig may go into a page."""
    return model.version == VERSION


def _painted(gaussians: Gaussians) -> dict[str, Any]:
    """Colours, sizes and opacities [N]; what depends on the view may be coarser."""
    sh = np.asarray(gaussians.sh, np.float32)
    flat = {"logits": page.fixed(np.asarray(gaussians.opacity_logits)[:, None])}
    flat["scales"] = page.fixed(gaussians.log_scales)
    flat["colour"] = page.fixed(sh[:, 0])
    if sh.shape[1] > 1:
        flat["colourRest"] = page.fixed(sh[:, 1:].reshape(len(sh), -1), bits=8)
    return flat


def _rig(loaded: Loaded, alive: np.ndarray, motions: Mapping[str, Motion]) -> dict[str, Any]:
    avatar, model = loaded.avatar, loaded.model
    local = jax.tree.map(lambda x: np.asarray(x)[alive], avatar.gaussians)
    offsets = np.einsum("jv,vce->jce", model.joint_regressor, model.expression_basis)
    rest = np.asarray(shaped_template(model, avatar.shape))
    arrays = {
        "face": page.indices(np.asarray(avatar.face_ids)[alive]),
        "means": page.fixed(local.means),
        "quats": page.fixed(local.quats / np.linalg.norm(local.quats, axis=-1, keepdims=True)),
        **_painted(local),
        "faces": page.indices(model.faces),
        "rest": page.plain(rest),
        "joints": page.plain((np.asarray(model.joint_regressor) @ rest).astype(np.float32)),
        "jointOffsets": page.plain(offsets.astype(np.float32)),
        "skinning": page.fixed(model.skinning),
        **_sparse("shape", np.asarray(model.expression_basis)),
        **_sparse("corrective", np.asarray(model.pose_basis)),
    }
    names = model.expression_names
    shown = [{"name": n, "weights": {k: v for k, v in w.items() if k in names}} for n, w, _ in poses.SHOWN]
    return {
        "kind": "rig",
        "expressions": list(names),
        "parents": list(model.parents),
        "presets": shown,
        "motions": _motions(loaded, motions),
        "arrays": arrays,
    }


def _sparse(name: str, basis: np.ndarray) -> dict[str, Any]:
    """A basis [V, 3, K] as the vertices that each of its shapes moves, and by how much."""
    moved = np.abs(basis).max(1).T > 0
    shapes, vertices = np.nonzero(moved)
    return {
        f"{name}Starts": page.plain(np.concatenate([[0], np.cumsum(moved.sum(1))]).astype(np.uint32)),
        f"{name}Index": page.indices(vertices),
        f"{name}Offsets": page.fixed(basis[vertices, :, shapes]),
    }


def _motions(loaded: Loaded, motions: Mapping[str, Motion]) -> list[dict[str, Any]]:
    model = loaded.model
    target = frame_target(model, loaded.avatar.shape)
    own = {
        "talk": _talk(model, loaded.meta.get("seed")),
        "expressions": poses.expressions(model, target, 1).flame,
    }
    found = [(name, flame, FPS) for name, flame in own.items()]
    for name, motion in motions.items():
        found.append((name, jax.tree.map(lambda x: np.asarray(x)[:LONGEST], motion.flame), motion.fps))
    return [{"name": n, "fps": fps, **_row(flame)} for n, flame, fps in found]


def _row(flame: FlameParams) -> dict[str, Any]:
    """A motion [T] as rows of expression, the five joints' rotation vectors, translation."""
    eyes = np.asarray(flame.eyes).reshape(-1, 6)
    parts = (flame.expression, flame.rotation, flame.neck, flame.jaw, eyes, flame.translation)
    values = np.concatenate([np.asarray(part) for part in parts], 1)
    return {"count": len(values), "frames": page.fixed(values)}


def _talk(model: FlameModel, seed: Any) -> FlameParams:
    """Relaxed speech, blinks and glances [TALK], whose end leads to its start."""
    key = jax.random.key(seed if isinstance(seed, int) else 0)
    # It runs once: to compile it well takes three times as long as to run it badly.
    make = jax.jit(
        lambda key: synthetic.motions.sequence(key, model, TALK, intensity=0.6, fps=FPS),
        compiler_options={"xla_backend_optimization_level": 0},
    )

    def closed(values: Array) -> np.ndarray:
        values = np.array(values)
        share = np.linspace(0, 1, _OVERLAP).reshape(-1, *[1] * (values.ndim - 1))
        values[-_OVERLAP:] += share * (values[0] - values[-_OVERLAP:])
        return values

    return jax.tree.map(closed, make(key))


def _baked(loaded: Loaded, alive: np.ndarray) -> dict[str, Any]:
    names = [name for name, _, _ in poses.SHOWN]
    params = [poses.expression(loaded.model, index, loaded.arkit) for index in range(len(names))]
    for side, yaw in (("left", 0.35), ("right", -0.35)):
        names.append(f"look {side}")
        params.append(params[0].replace(eyes=jnp.broadcast_to(jnp.array([0.0, yaw, 0.0]), (2, 3))))
    place = jax.jit(pose_avatar)
    posed = [
        jax.tree.map(lambda x: np.asarray(x)[alive], place(loaded.avatar, loaded.model, p)) for p in params
    ]
    first = posed[0]
    # q and -q are one turn, but halfway between them is another.
    quats = [p.quats * np.where(np.sum(p.quats * first.quats, -1, keepdims=True) < 0, -1, 1) for p in posed]
    sizes = [(p.log_scales - first.log_scales)[:, :1] for p in posed]
    arrays = {
        **_painted(first),
        "bakedMeans": page.fixed(np.stack([p.means for p in posed])),
        "bakedQuats": page.fixed(np.stack(quats)),
        "bakedSizes": page.fixed(np.stack(sizes)),
    }
    keys = [key for index in range(1, len(names)) for key in (0, index)]
    return {
        "kind": "baked",
        "expressions": [],
        "parents": [-1] * len(JOINTS),
        "presets": [{"name": name, "key": index} for index, name in enumerate(names)],
        "motions": [{"name": "expressions", "fps": 2.5, "count": len(keys), "keys": keys}],
        "arrays": arrays,
    }
