"""An avatar's head as an animated mesh with its colours as a texture: what a .glb holds.

A head's expressions move its joints too, and correctives follow the joints: neither is known to glTF. Joints
therefore get translations of their own in every frame, and correctives are morph targets, driven by the sines
of the angles, so that what is animated here is exact; see docs/formats.md for what others leave out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax import outputs, record
from zero1a_jax.errors import Refused
from zero1a_jax.flame import zero_params
from zero1a_jax.flame.model import JOINTS, shaped_template
from zero1a_jax.geometry.meshes import vertex_normals
from zero1a_jax.outputs import png
from zero1a_jax.outputs.glb import Frames, Mesh
from zero1a_jax.provenance import of_avatar
from zero1a_jax.showing import living, texture
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import FlameModel, FlameParams

FILE = "avatar.glb"
_BENT = (("jaw", 2), ("left_eye", 3), ("right_eye", 4))  # joints whose turn about x is corrected


def write(
    loaded: Loaded,
    folder: str | os.PathLike,
    *,
    pose: FlameParams | None = None,
    motion: FlameParams | None = None,
    fps: float = 25.0,
    size: int = texture.SIZE,
    overwrite: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes avatar.glb to `folder` and returns its path.

    Args:
      loaded: the avatar. folder: made where it is missing.
      pose: how it stands, without leading axes; None is the neutral face.
      motion: [T], an animation at `fps` frames a second.
      size: pixels a side of the texture.
      overwrite: replace also a file there that we did not write.
      report: told (done, all) of the views that the texture is made of.

    Raises:
      Refused: the head is not ours to give away, or another file is there.
    """
    refuse(loaded.model)
    folder, about = Path(folder).expanduser(), of_avatar(loaded.meta)
    record.refuse(folder, [FILE], overwrite=overwrite)
    mesh = rig(loaded, png.encode(texture.bake(loaded, size, report=report), about))
    pose = zero_params(loaded.model) if pose is None else pose
    stands = frames(loaded, jax.tree.map(lambda x: np.asarray(x)[None], pose))
    moves = None if motion is None else frames(loaded, motion)
    with record.writing(folder, [FILE], overwrite=overwrite) as unfinished:
        outputs.glb.save(unfinished / FILE, mesh, stands, motion=moves, fps=fps, provenance=about)
    return folder / FILE


def refuse(model: FlameModel) -> None:
    """Raises Refused where a head's mesh and rig are not ours to give away."""
    if not living.is_free(model):
        raise Refused(
            f"the licence of {model.version} does not let its mesh, blendshapes and skinning go out in a "
            "file that is passed on, and a .glb is made of them: use --to=ply with --motion, or --to=page"
        )


def rig(loaded: Loaded, picture: bytes) -> Mesh:
    """The head at rest with everything that moves it; `picture` is the texture, a .png."""
    model = loaded.model
    faces, uv_faces = np.asarray(model.faces), np.asarray(model.uv_faces)
    pairs, corners = np.unique(np.stack([faces.ravel(), uv_faces.ravel()], 1), axis=0, return_inverse=True)
    vertex, coordinate = pairs.T
    rest = np.asarray(shaped_template(model, loaded.avatar.shape))
    basis = np.asarray(model.expression_basis)
    targets = {name: basis[vertex, :, k] for k, name in enumerate(model.expression_names)}
    for name, offsets in _correctives(model).items():
        targets |= {name: offsets[vertex], f"{name}_back": -offsets[vertex]}
    return Mesh(
        positions=rest[vertex],
        normals=np.asarray(vertex_normals(rest, faces))[vertex],
        uv=np.asarray(model.uv)[coordinate],
        faces=corners.reshape(-1, 3),
        targets=targets,
        joints=np.asarray(model.joint_regressor) @ rest,
        joint_names=JOINTS,
        parents=model.parents,
        skinning=np.asarray(model.skinning)[vertex],
        texture=picture,
    )


def frames(loaded: Loaded, flame: FlameParams) -> Frames:
    """The parameters [T] as weights of `rig`'s targets, and as turns and places of its joints."""
    model = loaded.model
    expression = np.asarray(flame.expression, np.float64)
    parts = [flame.rotation, flame.neck, flame.jaw, *np.asarray(flame.eyes).swapaxes(0, 1)]
    turned = Rotation.from_rotvec(np.stack(parts, 1).reshape(-1, 3))
    turns = turned.as_matrix().reshape(-1, len(parts), 3, 3)
    regressor = np.asarray(model.joint_regressor, np.float64)
    rest = regressor @ np.asarray(shaped_template(model, loaded.avatar.shape), np.float64)
    moved = rest + np.einsum("jv,vce,te->tjc", regressor, model.expression_basis, expression)
    world, place = [turns[:, 0]], [moved[:, 0] + np.asarray(flame.translation)]
    for joint, parent in enumerate(model.parents[1:], 1):
        bone = np.einsum("tij,tj->ti", world[parent], moved[:, joint] - moved[:, parent])
        world.append(world[parent] @ turns[:, joint])
        place.append(place[parent] + bone)
    # A skin binds vertices to the joints of the neutral face, so that a joint stands where it takes those.
    stands = [
        p + np.einsum("tij,tj->ti", w, r - m)
        for p, w, r, m in zip(place, world, rest, moved.swapaxes(0, 1), strict=True)
    ]
    local = [stands[0]]
    for joint, parent in enumerate(model.parents[1:], 1):
        local.append(np.einsum("tji,tj->ti", world[parent], stands[joint] - stands[parent]))
    sines = [(turns[:, joint, 2, 1] - turns[:, joint, 1, 2]) / 2 for _, joint in _BENT]
    bent = [np.maximum(sign * sine, 0) for sine in sines for sign in (1, -1)]
    return Frames(
        weights=np.concatenate([expression, np.stack(bent, 1)], 1).astype(np.float32),
        rotations=_turning(turned.as_quat().reshape(-1, len(parts), 4)),
        translations=np.stack(local, 1).astype(np.float32),
    )


def _correctives(model: FlameModel) -> dict[str, np.ndarray]:
    """Offsets [V, 3] for a turn about x of sine 1 of the joints that have correctives.

    Raises Refused where the head corrects other turns, which these targets would leave out.
    """
    basis = np.asarray(model.pose_basis)
    left, found = basis.copy(), {}
    for name, joint in _BENT:
        ahead, back = 9 * (joint - 1) + 7, 9 * (joint - 1) + 5
        found[f"corrective_{name}"] = basis[..., ahead] - basis[..., back]
        half = found[f"corrective_{name}"] / 2
        left[..., ahead] -= half
        left[..., back] += half
    if np.abs(left).max() > 1e-6:
        raise Refused(f"the correctives of {model.version} follow more than turns about x")
    return found


def _turning(quats: np.ndarray) -> np.ndarray:
    """Quaternions [T, J, 4] with signs that go the short way from each frame to the next."""
    flips = np.where(np.sum(quats[1:] * quats[:-1], -1) < 0, -1.0, 1.0)
    signs = np.cumprod(np.concatenate([np.ones((1, quats.shape[1])), flips]), 0)
    return (quats * signs[..., None]).astype(np.float32)
