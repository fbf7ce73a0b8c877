"""An avatar as a folder that other programs can open.

avatar.ply        the Gaussians in triangle frames with binding_0 (GaussianAvatars' layout)
avatar_world.ply  the same head posed at rest, in world space, for any splat viewer
avatar.npz        shape [S]: the identity coefficients that `avatar.ply` needs to be posed; perhaps
                  static_offset [V, 3]: metres by which its mesh differs from the head's
avatar.json       format, counts, the head model's version, provenance, and what the caller adds
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.outputs import ply
from zero1a_jax.provenance import Provenance
from zero1a_jax.types import Avatar, FlameModel, Gaussians

_FORMAT = 1
_OFFSET = "static_offset"
_FILES = {"triangle": "avatar.ply", "world": "avatar_world.ply", "shape": "avatar.npz", "meta": "avatar.json"}
AVATAR_FILES = tuple(_FILES.values())


def save_avatar(
    folder: str | os.PathLike,
    avatar: Avatar,
    posed: Gaussians,
    meta: Mapping[str, Any],
    *,
    provenance: Provenance | None = None,
    degree: int = 0,
) -> dict[str, Path]:
    """Writes the living Gaussians of `avatar` to `folder`, each file atomically.

    Args:
      folder: made where it is missing; files of the same names are replaced.
      avatar: capacity N; only `alive` ones are written, so a loaded avatar has no spare capacity.
      posed: what `avatar.pose` returned for the same avatar, N Gaussians in world space.
      meta: what JSON can hold. `flame_version` (the model's `version`) and `faces` (how many triangles the
        model has) are required, since face ids mean nothing on another mesh; `size` (pixels) and
        `background` (rgb) are what it was trained with; `seed` is its run's, `caption` says what the
        portrait shows; `static_offset` [V, 3] goes to the .npz.
      provenance: what both .ply and the .json say about where they come from.
      degree: of the world-space file's harmonics at least, see `ply.save`.

    Returns:
      {"triangle": .ply, "world": .ply, "shape": .npz, "meta": .json}, the paths written.

    Raises:
      Refused: nobody is alive, the counts disagree, or `meta` lacks a required key.
    """
    missing = [key for key in ("flame_version", "faces") if key not in meta]
    if missing:
        raise Refused(f"meta lacks {', '.join(missing)}; give the head model's version and face count")
    alive = np.asarray(avatar.alive, bool)
    if not alive.any():
        raise Refused("the avatar has no living Gaussians, so there is nothing to export")
    if len(np.asarray(posed.means)) != len(alive):
        raise Refused(f"posed holds {len(np.asarray(posed.means))} Gaussians, the avatar {len(alive)}")
    face_ids = np.asarray(avatar.face_ids)[alive]
    if face_ids.max() >= int(meta["faces"]):
        raise Refused(f"face id {face_ids.max()} on a mesh of {meta['faces']} faces; give its own model")
    folder = Path(folder)
    paths = {name: folder / file for name, file in _FILES.items()}
    ply.save(paths["triangle"], _take(avatar.gaussians, alive), face_ids, provenance=provenance)
    ply.save(paths["world"], _take(posed, alive), provenance=provenance, degree=degree)
    identity: dict[str, Any] = {"shape": np.asarray(avatar.shape, np.float32)}
    identity |= {name: np.asarray(meta[name], np.float32) for name in (_OFFSET,) if name in meta}
    with files.replacing(paths["shape"]) as temporary:
        np.savez(temporary, **identity)
    told = {name: value for name, value in meta.items() if name != _OFFSET}
    about = {"format": _FORMAT, "gaussians": int(alive.sum()), **told}
    about |= {} if provenance is None else {"provenance": provenance.facts}
    files.write_text(paths["meta"], json.dumps(about, indent=1, default=_plain) + "\n")
    return paths


def load_avatar(path: str | os.PathLike) -> tuple[Avatar, dict[str, Any]]:
    """Reads what `save_avatar` wrote.

    Args:
      path: the folder, or the triangle-space .ply in it (its .npz and .json of the same stem beside it).

    Returns:
      (avatar, meta): numpy arrays, everybody alive, capacity = the number of Gaussians.

    Raises:
      Refused: a file is damaged or of another format; FileNotFoundError: a file is missing.
    """
    path = Path(path)
    triangle = path / "avatar.ply" if path.is_dir() or not path.suffix else path
    for needed in (triangle, triangle.with_suffix(".npz"), triangle.with_suffix(".json")):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed} is missing; give the export folder of a finished run")
    try:
        meta = json.loads(triangle.with_suffix(".json").read_text("utf-8"))
    except ValueError as error:
        raise Refused(f"{triangle.with_suffix('.json')}: not JSON: {error}") from error
    if not isinstance(meta, dict) or meta.get("format") != _FORMAT:
        raise Refused(f"{triangle.with_suffix('.json')}: not of format {_FORMAT}; export the avatar again")
    gaussians, face_ids = ply.load(triangle)
    if face_ids is None:
        raise Refused(f"{triangle}: it has no binding_0; the world-space .ply cannot be animated")
    try:
        data = np.load(triangle.with_suffix(".npz"), allow_pickle=False)
        if isinstance(data, np.ndarray):
            raise Refused("it holds one bare array")
        with data:
            shape = np.asarray(data["shape"], np.float32)
            meta |= {name: np.asarray(data[name], np.float32) for name in (_OFFSET,) if name in data.files}
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise Refused(f"{triangle.with_suffix('.npz')}: no readable `shape` in it: {error}") from error
    if shape.ndim != 1 or not np.isfinite(shape).all():
        raise Refused(f"{triangle.with_suffix('.npz')}: shape must be finite numbers [S]")
    return Avatar(gaussians, face_ids, np.ones(len(face_ids), bool), shape), meta


def check_model(avatar: Avatar, meta: Mapping[str, Any], model: FlameModel) -> None:
    """Raises Refused where the loaded avatar was made on another head model than `model`."""
    faces, shapes = len(np.asarray(model.faces)), np.shape(model.shape_basis)[2]
    if meta.get("flame_version") != model.version or meta.get("faces") != faces:
        raise Refused(
            f"the avatar was made on {meta.get('flame_version')} with {meta.get('faces')} faces, the model "
            f"is {model.version} with {faces}; load the head model that the avatar was made on"
        )
    if _OFFSET in meta and np.shape(meta[_OFFSET]) != np.shape(model.template):
        raise Refused(f"the avatar's {_OFFSET} is {list(np.shape(meta[_OFFSET]))}, unlike the model's mesh")
    own = len(np.asarray(avatar.shape))
    if own > shapes:
        raise Refused(f"the avatar has {own} shape coefficients, the model {shapes}")


def _take(gaussians: Gaussians, chosen: np.ndarray) -> Gaussians:
    return Gaussians(**{name: np.asarray(value)[chosen] for name, value in vars(gaussians).items()})


def _plain(value: Any) -> Any:
    """What JSON writes for numpy and jax values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"meta holds a {type(value).__name__}, which JSON cannot write")
