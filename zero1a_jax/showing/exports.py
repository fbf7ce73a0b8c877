"""An avatar for other programs: which files each kind has, and what goes into them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax import outputs, record
from zero1a_jax.avatar import pose as pose_avatar
from zero1a_jax.converters import flame_npz
from zero1a_jax.errors import Refused
from zero1a_jax.flame import forward
from zero1a_jax.flame.model import sized
from zero1a_jax.outputs import delta_ply, livelink, ply, splat_transform
from zero1a_jax.provenance import Provenance, of_avatar
from zero1a_jax.showing import animation, living, mesh
from zero1a_jax.sources import gaussianavatars
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import FlameParams, Gaussians, Motion

KINDS = ("ply", "page", "glb", "gaussianavatars", "spz", "sog", "delta_ply", "coefficients", "livelink")
MOVING = ("delta_ply", "coefficients", "livelink")  # that need a motion
SHAPES, EXPRESSIONS = 300, 100  # coefficients that GaussianAvatars asks for


class _Job(NamedTuple):
    """What an export is made of."""

    loaded: Loaded
    folder: Path
    pose: FlameParams  # without leading axes
    motion: FlameParams | None  # [T]
    fps: float
    degree: int  # of world-space harmonics at least
    overwrite: bool
    about: Provenance
    report: Callable[[int, int], None]


def write(
    loaded: Loaded,
    folder: str | os.PathLike,
    pose: FlameParams,
    *,
    to: str,
    motion: str | os.PathLike | Motion | None = None,
    fps: float = 25.0,
    frames: int = 0,
    degree: int = 0,
    overwrite: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Path]:
    """Writes an avatar as one of KINDS but the page; see `zero1a_jax.export`.

    Raises Refused where the head's licence, the tools at hand or what is in `folder` do not allow it.
    """
    if to in MOVING and motion is None:
        raise Refused(f"--to={to} holds a motion: give --motion")
    if to in ("spz", "sog"):
        splat_transform.refuse()
    if to in ("glb", "delta_ply"):
        mesh.refuse(loaded.model)
    if to == "gaussianavatars" and living.is_free(loaded.model):
        raise Refused(
            f"GaussianAvatars knows FLAME alone, and this avatar stands on {loaded.model.version}; "
            "--to=ply writes the same columns for that head"
        )
    flame = None if motion is None else animation.movement(loaded, motion, fps=fps)
    if flame is not None and frames:
        flame = jax.tree.map(lambda x: x[:frames], flame)
    folder = Path(folder).expanduser()
    job = _Job(loaded, folder, pose, flame, fps, degree, overwrite, of_avatar(loaded.meta), report)
    if to == "glb":
        options: dict[str, Any] = {"pose": pose, "motion": flame, "fps": fps, "overwrite": overwrite}
        return {"mesh": mesh.write(loaded, folder, **options, report=report)}
    writers = {
        "ply": _still if flame is None else _frames,
        "gaussianavatars": _gaussianavatars,
        "delta_ply": _delta_ply,
        "coefficients": _coefficients,
        "livelink": _livelink,
    }
    return _compressed(job, to) if to in splat_transform.KINDS else writers[to](job)


def _alive(loaded: Loaded, gaussians: Gaussians | None = None) -> Gaussians:
    """The Gaussians of the avatar, or `gaussians` posed from them, without the dead: numpy."""
    alive = np.asarray(loaded.avatar.alive, bool)
    return jax.tree.map(lambda x: np.asarray(x)[alive], gaussians or loaded.avatar.gaussians)


def _still(job: _Job) -> dict[str, Path]:
    posed = jax.jit(pose_avatar)(job.loaded.avatar, job.loaded.model, job.pose)
    with record.writing(job.folder, outputs.AVATAR_FILES, overwrite=job.overwrite) as unfinished:
        paths = outputs.save_avatar(
            unfinished,
            job.loaded.avatar,
            posed,
            job.loaded.meta,
            provenance=job.about,
            degree=job.degree,
        )
    return {name: job.folder / path.name for name, path in paths.items()}


def _frames(job: _Job) -> dict[str, Path]:
    """One world-space .ply a frame."""
    place, flame = jax.jit(pose_avatar), job.motion
    assert flame is not None
    names = [f"frame_{number:05d}.ply" for number in range(len(np.asarray(flame.jaw)))]
    with record.writing(job.folder, names, overwrite=job.overwrite) as unfinished:
        for number, name in enumerate(names):
            params = jax.tree.map(lambda x, i=number: np.asarray(x)[i], flame)
            posed = _alive(job.loaded, place(job.loaded.avatar, job.loaded.model, params))
            ply.save(unfinished / name, posed, provenance=job.about, degree=job.degree)
            job.report(number + 1, len(names))
    return {Path(name).stem: job.folder / name for name in names}


def _compressed(job: _Job, to: str) -> dict[str, Path]:
    name = f"avatar.{to}"
    with (
        record.writing(job.folder, [name], overwrite=job.overwrite) as unfinished,
        tempfile.TemporaryDirectory() as aside,
    ):
        posed = jax.jit(pose_avatar)(job.loaded.avatar, job.loaded.model, job.pose)
        ply.save(
            Path(aside) / "avatar.ply", _alive(job.loaded, posed), provenance=job.about, degree=job.degree
        )
        splat_transform.convert(Path(aside) / "avatar.ply", unfinished / name)
    return {to: job.folder / name}


def _gaussianavatars(job: _Job) -> dict[str, Path]:
    """point_cloud.ply and flame_param.npz, as its viewer opens them."""
    loaded, (cloud, params) = job.loaded, gaussianavatars.FILES
    alive = np.asarray(loaded.avatar.alive, bool)
    flame = job.motion
    if flame is None:
        flame = jax.tree.map(lambda x: np.asarray(x)[None], job.pose)
    # Its viewer expects degree 3 unless told otherwise; its own files keep their bytes.
    foreign = gaussianavatars.is_foreign(loaded.meta)
    degree, about = (job.degree, None) if foreign else (3, job.about)
    frames, vertices = len(np.asarray(flame.jaw)), len(np.asarray(loaded.model.template))
    offset = loaded.meta.get(gaussianavatars.OFFSET, np.zeros((vertices, 3), np.float32))
    arrays: dict[str, Any] = {
        "shape": sized(loaded.avatar.shape, SHAPES),
        "expr": sized(flame.expression, EXPRESSIONS),
        "rotation": flame.rotation,
        "neck_pose": flame.neck,
        "jaw_pose": flame.jaw,
        "eyes_pose": np.asarray(flame.eyes).reshape(frames, 6),
        "translation": flame.translation,
        "static_offset": np.asarray(offset)[None],
        "dynamic_offset": np.zeros((frames, vertices, 3)),
    }
    arrays = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
    with record.writing(job.folder, gaussianavatars.FILES, overwrite=job.overwrite) as unfinished:
        ids = np.asarray(loaded.avatar.face_ids)[alive]
        ply.save(unfinished / cloud, _alive(loaded), ids, provenance=about, degree=degree)
        # Offsets are mostly zeros: compressed they weigh nothing.
        np.savez_compressed(unfinished / params, **arrays)
    return {"triangle": job.folder / cloud, "parameters": job.folder / params}


def _delta_ply(job: _Job) -> dict[str, Path]:
    loaded, name = job.loaded, "avatar_delta.ply"
    assert job.motion is not None
    place = jax.jit(lambda params: forward(loaded.model, params.replace(shape=loaded.avatar.shape))[0])
    count = len(np.asarray(job.motion.jaw))
    frames = (jax.tree.map(lambda x, i=i: np.asarray(x)[i], job.motion) for i in range(count))
    ids = np.asarray(loaded.avatar.face_ids)[np.asarray(loaded.avatar.alive, bool)]
    with record.writing(job.folder, [name], overwrite=job.overwrite) as unfinished:
        vertices = np.stack([np.asarray(place(params)) for params in frames])
        delta_ply.save(
            unfinished / name,
            _alive(loaded),
            ids,
            np.asarray(loaded.model.faces),
            vertices,
            provenance=job.about,
        )
    return {"delta_ply": job.folder / name}


def _coefficients(job: _Job) -> dict[str, Path]:
    name, flame = "coefficients.npz", job.motion
    assert flame is not None
    count = len(np.asarray(flame.jaw))
    flame = flame.replace(shape=np.repeat(np.asarray(job.loaded.avatar.shape)[None], count, 0))
    motion = Motion(flame, None, job.fps, job.loaded.model.version)
    with record.writing(job.folder, [name], overwrite=job.overwrite) as unfinished:
        flame_npz.save(unfinished / name, motion)
    return {"coefficients": job.folder / name}


def _livelink(job: _Job) -> dict[str, Path]:
    name, flame, model = "livelink.csv", job.motion, job.loaded.model
    assert flame is not None
    if not model.expression_names:
        raise Refused(
            f"the expressions of {model.version} have no names of ARKit's, so that its motion cannot be "
            "a Live Link recording: use --to=coefficients"
        )
    if np.asarray(flame.jaw).any() or np.asarray(flame.rotation).any() or np.asarray(flame.translation).any():
        print("note: the jaw joint's turns and the root's have no column in Live Link's table", flush=True)
    turns = np.concatenate([np.asarray(flame.neck)[:, None], np.asarray(flame.eyes)], 1)
    angles = Rotation.from_rotvec(turns.reshape(-1, 3)).as_euler("YXZ").reshape(len(turns), 9)
    with record.writing(job.folder, [name], overwrite=job.overwrite) as unfinished:
        weights, angles = livelink.with_gaze(model.expression_names, np.asarray(flame.expression), angles)
        livelink.save(unfinished / name, model.expression_names, weights, angles, fps=job.fps)
    return {"livelink": job.folder / name}
