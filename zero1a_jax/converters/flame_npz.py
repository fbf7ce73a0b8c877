"""Motions from FLAME .npz: GaussianAvatars' flame_param.npz and VHAP's per-frame, canonical and tracked.

All name the same arrays: shape [S], expr [T, E], rotation, neck_pose, jaw_pose, translation [T, 3],
eyes_pose [T, 6] (left, right), angles as axis-angle. static_offset and dynamic_offset (metres
per vertex) belong to the tracked mesh, not to the motion, and are left out.
Sources: GaussianAvatars 30cc4bde, VHAP 4b64ab7d.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Set
from pathlib import Path

import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.types import FlameParams, Motion

FPS = 25.0  # where no file says
_POSES = {"rotation": "rotation", "neck_pose": "neck", "jaw_pose": "jaw", "translation": "translation"}
_WANTED = {"shape", "expr", "eyes_pose", "fps", "flame_version", *_POSES}


def load(path: str | os.PathLike, *, fps: float = FPS, flame_version: str = "unknown") -> Motion:
    """Reads a FLAME motion from one .npz, or from a folder of VHAP's per-frame .npz, sorted by name.

    Args:
      path: the file or folder. Nothing in it is unpickled.
      fps: frames a second, since most of these files do not say; a file that does wins.
      flame_version: the model whose coefficients these are, e.g. "flame2020", likewise.

    Returns:
      Motion of T float32 frames, without cameras; the shape is repeated for each frame.

    Raises:
      FileNotFoundError: nothing is there. Refused: not such a file; the message names the array.
    """
    path = Path(path)
    if path.is_dir():
        names = sorted(path.glob("*.npz"))
        if not names:
            raise FileNotFoundError(f"{path} holds no .npz files")
        frames = [_params(read_arrays(name, _WANTED), name) for name in names]
        if len({tuple(np.shape(v)[1:] for v in vars(p).values()) for p in frames}) > 1:
            raise Refused(f"the .npz files in {path} have different sizes; they are not one sequence")
        joined = {n: np.concatenate([getattr(p, n) for p in frames]) for n in vars(frames[0])}
        return Motion(FlameParams(**joined), None, fps, flame_version)
    data = read_arrays(path, _WANTED)
    return Motion(
        _params(data, path),
        None,
        float(data["fps"]) if "fps" in data else fps,
        str(data["flame_version"]) if "flame_version" in data else flame_version,
    )


def save(path: str | os.PathLike, motion: Motion) -> None:
    """Writes the coefficients under GaussianAvatars' names, with fps and flame_version beside them.

    Raises:
      Refused: the shape changes during the motion, which that layout cannot hold.
    """
    flame = motion.flame
    shape = np.asarray(flame.shape, np.float32)
    if (shape != shape[:1]).any():
        raise Refused("the shape coefficients change during the motion; a flame_param.npz holds one shape")
    np.savez(
        Path(path),
        shape=shape[0],
        expr=np.asarray(flame.expression, np.float32),
        eyes_pose=np.asarray(flame.eyes, np.float32).reshape(len(shape), 6),
        fps=np.float64(motion.fps),
        flame_version=np.str_(motion.flame_version),
        rotation=np.asarray(flame.rotation, np.float32),
        neck_pose=np.asarray(flame.neck, np.float32),
        jaw_pose=np.asarray(flame.jaw, np.float32),
        translation=np.asarray(flame.translation, np.float32),
    )


def read_arrays(path: Path, wanted: Set[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz that have a wanted name. Nothing is unpickled.

    Raises FileNotFoundError, or ValueError where it is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there are no parameters at {path}")
    try:
        data = np.load(path, allow_pickle=False)
        if isinstance(data, np.ndarray):
            raise Refused("it holds one bare array")
        with data:
            return {name: data[name] for name in data.files if name in wanted}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise Refused(f"{path} is not a plain .npz of numbers: {error}") from error


def _params(data: Mapping[str, np.ndarray], path: Path) -> FlameParams:
    missing = [name for name in ("shape", "expr", "eyes_pose", *_POSES) if name not in data]
    if missing:
        raise Refused(f"{path} is not a FLAME motion, it lacks {', '.join(missing)}")
    for name in ("shape", "expr", "eyes_pose", *_POSES):
        if not np.issubdtype(data[name].dtype, np.number) or not np.isfinite(data[name]).all():
            raise Refused(f"{path}: {name} holds values that are not finite numbers")
    if data["expr"].ndim != 2 or not len(data["expr"]):
        raise Refused(f"{path}: expr has shape {data['expr'].shape}; expected [T, E]")
    frames = len(data["expr"])
    for name, width in [*((name, 3) for name in _POSES), ("eyes_pose", 6)]:
        if data[name].shape != (frames, width):
            raise Refused(f"{path}: {name} has shape {data[name].shape}; expected ({frames}, {width})")
    shape = np.asarray(data["shape"], np.float32)
    if shape.ndim == 1:
        shape = np.repeat(shape[None], frames, axis=0)
    if shape.ndim != 2 or len(shape) not in (1, frames):
        raise Refused(f"{path}: shape has shape {data['shape'].shape}; expected [S] or [T, S]")
    return FlameParams(
        shape=np.broadcast_to(shape, (frames, shape.shape[1])).copy(),
        expression=np.asarray(data["expr"], np.float32),
        eyes=np.asarray(data["eyes_pose"], np.float32).reshape(frames, 2, 3),
        **{field: np.asarray(data[name], np.float32) for name, field in _POSES.items()},
    )
