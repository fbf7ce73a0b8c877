"""One door for motion files, by their suffix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from zero1a_jax.drive.flame_npz import load_flame_npz
from zero1a_jax.drive.livelink import livelink_motion, read_livelink
from zero1a_jax.drive.retarget import retarget
from zero1a_jax.types import Array, FlameModel, Motion


def load_motion(
    path: str | os.PathLike,
    model: FlameModel,
    *,
    shape: Array | None = None,
    fps: float | None = None,
    expression: Literal["match", "drop"] = "match",
    root: Literal["keep", "drop"] = "keep",
) -> Motion:
    """Reads a motion for `model`: .csv (Live Link Face), .npz or a folder of .npz (FLAME, VHAP).

    Args:
      path: the file or folder.
      model: the head to drive.
      shape: [S'] identity of the driven head; None keeps the file's.
      fps: the file's rate where it does not say; None takes 60 for .csv, 25 for .npz.
      expression, root: see `retarget`.

    Raises:
      FileNotFoundError: nothing is there. ValueError: unknown suffix, or what the reader found wrong.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no motion at {path}")
    if path.suffix.lower() == ".csv":
        motion = livelink_motion(read_livelink(path, fps=fps or 60.0), model)
    elif path.is_dir() or path.suffix.lower() == ".npz":
        motion = load_flame_npz(path, fps=fps or 25.0)
    else:
        raise ValueError(f"{path}: motions are .csv (Live Link Face) or .npz (FLAME); convert it first")
    return retarget(motion, model, shape=shape, expression=expression, root=root)
