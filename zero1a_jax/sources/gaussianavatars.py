"""Avatars that GaussianAvatars trained: its point_cloud.ply and the flame_param.npz beside it.

Its Gaussians live in the frames of FLAME's triangles, with its teeth behind FLAME's own faces, as ours do.
Its mesh is FLAME's plus an offset a vertex (static_offset, metres), which is added to the template here.
Source: GaussianAvatars 30cc4bde, `save_ply`, `load_ply`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.flame.model import sized
from zero1a_jax.outputs import ply
from zero1a_jax.types import Avatar, FlameModel

FILES = ("point_cloud.ply", "flame_param.npz")
OFFSET, SOURCE = "static_offset", "source"  # keys of an avatar's meta
NAME = "GaussianAvatars"
_ITERATION = re.compile(r"iteration_([0-9]+)$")


def find(path: Path) -> Path | None:
    """Its .ply, where `path` is one with a flame_param.npz beside it, its folder, or a run's; else None.

    Of a run the last iteration counts.
    """
    if path.is_file():
        ours = path.with_suffix(".json").exists()
        return path if path.suffix == ".ply" and not ours and (path.parent / FILES[1]).is_file() else None
    if (path / FILES[0]).is_file():
        return path / FILES[0]
    numbered = [
        (int(m[1]), p) for p in path.glob("point_cloud/iteration_*") if (m := _ITERATION.search(p.name))
    ]
    found = [folder / FILES[0] for _, folder in sorted(numbered) if (folder / FILES[0]).is_file()]
    return found[-1] if found else None


def load(file: Path, model: FlameModel) -> tuple[Avatar, FlameModel, dict[str, Any]]:
    """The avatar of a point_cloud.ply, the head that it stands on, and its meta.

    Args:
      file: from `find`.
      model: FLAME, with teeth where the avatar has Gaussians on them.

    Raises:
      FileNotFoundError: flame_param.npz is missing.
      Refused: not FLAME, no binding, faces or offsets that the head lacks.
    """
    if model.expression_names:
        raise Refused(f"{file} stands on FLAME: give the folder of the model with --flame")
    beside = file.parent / FILES[1]
    if not beside.is_file():
        raise FileNotFoundError(f"{beside} is missing: it holds the identity that {file.name} stands on")
    gaussians, face_ids = ply.load(file)
    if face_ids is None:
        raise Refused(f"{file}: it has no binding_0; Gaussians in the world cannot be animated")
    faces = len(np.asarray(model.faces))
    if face_ids.max() >= faces:
        raise Refused(
            f"{file}: a Gaussian lies on face {face_ids.max()}, the head has {faces}; GaussianAvatars adds "
            "teeth, for which the model's landmark files must be in its folder too"
        )
    data = _read(beside)
    shape = data["shape"].reshape(-1)
    shapes = np.shape(model.shape_basis)[2]
    if shape[shapes:].any():
        raise Refused(f"{beside} has {len(shape)} shape coefficients, the head {shapes}")
    meta: dict[str, Any] = {"flame_version": model.version, "faces": faces, SOURCE: NAME}
    if OFFSET in data:
        meta[OFFSET] = _offset(data[OFFSET], model, beside)
    avatar = Avatar(gaussians, face_ids, np.ones(len(face_ids), bool), sized(shape, shapes))
    return avatar, displaced(model, meta), meta


def displaced(model: FlameModel, meta: Mapping[str, Any]) -> FlameModel:
    """The head that an avatar stands on: with the offsets of its meta, where it has some."""
    offset = meta.get(OFFSET)
    return model if offset is None else model.replace(template=np.asarray(model.template) + offset)


def is_foreign(meta: Mapping[str, Any]) -> bool:
    """Whether GaussianAvatars made an avatar, not this program."""
    return meta.get(SOURCE) == NAME


def _read(file: Path) -> dict[str, np.ndarray]:
    """Its shape, and its static_offset where there is one; float32."""
    try:
        data = np.load(file, allow_pickle=False)
        if isinstance(data, np.ndarray):
            raise Refused("it holds one bare array")
        with data:
            names = ["shape", *(name for name in (OFFSET,) if name in data.files)]
            found = {name: np.asarray(data[name], np.float32) for name in names}
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise Refused(f"{file}: no readable `shape` in it: {error}") from error
    if not np.isfinite(found["shape"]).all():
        raise Refused(f"{file}: shape holds values that are not finite")
    return found


def _offset(offset: np.ndarray, model: FlameModel, file: Path) -> np.ndarray:
    """[V, 3] metres; vertices at the end that the file lacks, the teeth, have none."""
    offset, count = offset.reshape(-1, 3), len(np.asarray(model.template))
    if len(offset) > count or not np.isfinite(offset).all():
        raise Refused(f"{file}: {OFFSET} is of {len(offset)} vertices, the head has {count}")
    return np.concatenate([offset, np.zeros((count - len(offset), 3), np.float32)])
