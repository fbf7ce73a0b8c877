"""What --motion and --motions mean: a driving file of any kind that this project reads, for one head."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from zero1a_jax import drive
from zero1a_jax.converters import flame_npz, livelink, talkshow
from zero1a_jax.errors import Refused
from zero1a_jax.types import ArkitMap, Array, FlameModel, Motion

KINDS = ".csv of Live Link Face, .npz of FLAME or VHAP or a folder of them, .pkl of SHOW, .npy of TalkSHOW"


def load(
    path: str | os.PathLike,
    model: FlameModel,
    *,
    arkit: ArkitMap | None = None,
    shape: Array | None = None,
    fps: float | None = None,
    expression: Literal["match", "drop"] = "match",
    root: Literal["keep", "drop"] = "keep",
) -> Motion:
    """A motion for `model`.

    Args:
      path: the file or folder, see KINDS.
      model: the head to drive.
      arkit: what ARKit's shapes ask of a head without such names, see `arkit_table.load`.
      shape: [S'] identity of the driven head; None keeps the file's.
      fps: the file's rate where it does not say; None takes 60 for .csv, 25 for .npz, 30 for the others.
      expression, root: see `drive.retarget`.

    Raises:
      FileNotFoundError: nothing is there.
      Refused: an unknown kind, another head's coefficients, or what the reader found wrong.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no motion at {path}")
    suffix = path.suffix.lower()
    if suffix in (".pkl", ".npy"):
        motion = talkshow.load(path, fps=fps or talkshow.FPS)
    elif suffix == ".csv":
        recording = livelink.load(path, fps=fps or livelink.FPS)
        map_of_nameless = None if model.expression_names else arkit
        motion = drive.livelink_motion(recording, model, arkit=map_of_nameless)
    elif path.is_dir() or suffix == ".npz":
        motion = flame_npz.load(path, fps=fps or flame_npz.FPS)
    else:
        raise Refused(f"{path}: motions are {KINDS}; convert it first")
    return drive.retarget(motion, model, shape=shape, expression=expression, root=root)
