"""What --motion and --motions mean: a driving file of any kind that this project reads, for one head."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from zero1a_jax import drive
from zero1a_jax.converters import flame_npz, livelink, mediapipe, talkshow, text_tables
from zero1a_jax.errors import Refused
from zero1a_jax.types import ArkitMap, Array, FlameModel, Motion, Recording

KINDS = (
    ".csv of Live Link Face or MediaPipe's blendshapes, .json of the latter, .npz of FLAME's trackers or a "
    "folder of them or of EMOCA's .npy, .pkl of SHOW, .npy of TalkSHOW"
)
TABLES, JSON = (".csv", ".tsv", ".txt"), (".json", ".jsonl")


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
    """A motion for `model`. What was bridged, assumed or left at rest is printed as "note: ...".

    Args:
      path: the file or folder, see KINDS.
      model: the head to drive.
      arkit: what ARKit's shapes ask of a head without such names, see `arkit_table.load`.
      shape: [S'] identity of the driven head; None keeps the file's.
      fps: the recording's rate; None takes it from timecodes and times, and where the file does not say 60
        for Live Link Face, 25 for .npz, 30 for the others. The fps in an .npz wins.
      expression, root: see `drive.retarget`.

    Returns:
      The motion; its `notes` are the sentences that were printed.

    Raises:
      FileNotFoundError: nothing is there.
      Refused: an unknown kind, another head's coefficients, or what the reader found wrong.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no motion at {path}")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".npz":
        motion = flame_npz.load(path, fps=fps or flame_npz.FPS)
    elif suffix in (".pkl", ".npy"):
        motion = talkshow.load(path, fps=fps or talkshow.FPS)
    elif suffix in (*TABLES, *JSON):
        recording = mediapipe.load(path, fps=fps) if suffix in JSON else _table(path, fps)
        map_of_nameless = None if model.expression_names else arkit
        motion = drive.livelink_motion(recording, model, arkit=map_of_nameless)
    else:
        raise Refused(f"{path}: motions are {KINDS}; convert it first")
    for note in motion.notes:
        print(f"note: {path.name}: {note}", flush=True)
    return drive.retarget(motion, model, shape=shape, expression=expression, root=root)


def _table(path: Path, fps: float | None) -> Recording:
    """Live Link Face's table, which has timecodes, or MediaPipe's."""
    table = text_tables.read(path)
    reader = mediapipe if table.column(livelink.TIMECODE) is None else livelink
    return reader.from_table(table, fps=fps)
