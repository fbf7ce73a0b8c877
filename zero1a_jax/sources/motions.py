"""What --motion and --motions mean: a driving file of any kind that this project reads, for one head."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from zero1a_jax import drive
from zero1a_jax.converters import flame_npz, livelink, mediapipe, talkshow, text_tables
from zero1a_jax.errors import Refused
from zero1a_jax.image import film
from zero1a_jax.retargeting import AS_RECORDED, Retargeting
from zero1a_jax.sources import motion_video
from zero1a_jax.types import ArkitMap, Array, FlameModel, Motion, Recording

KINDS = (
    "a video of a face (.mp4, .mov, .mkv, .webm, .avi, .gif), .csv of Live Link Face or MediaPipe's "
    "blendshapes, .json of the latter, .npz of FLAME's trackers or a folder of them or of EMOCA's .npy, .pkl "
    "of SHOW, .npy of TalkSHOW"
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
    how: Retargeting = AS_RECORDED,
    assets: str | os.PathLike | None = None,
) -> Motion:
    """A motion for `model`. What was bridged, assumed or left at rest is printed as "note: ...".

    Args:
      path: the file or folder, see KINDS.
      model: the head to drive.
      arkit: what ARKit's shapes ask of a head without such names, see `arkit_table.load`.
      shape: [S'] identity of the driven head; None keeps the file's.
      fps: the recording's rate; None takes it from the video, timecodes or times, and where the file does
        not say 60 for Live Link Face, 25 for .npz, 30 for the others. The fps in an .npz wins.
      expression, root: see `drive.retarget`.
      how: what moves, by how much and against which rest.
      assets: the folder with MediaPipe's face_landmarker.task, for videos; None looks at ZERO1A_ASSETS.

    Returns:
      The motion; its `notes` are the sentences that were printed.

    Raises:
      FileNotFoundError: nothing is there.
      Refused: an unknown kind, another head's coefficients, or what the reader found wrong.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no motion at {path}")
    suffix, recording = path.suffix.lower(), None
    if path.is_dir() or suffix == ".npz":
        motion = flame_npz.load(path, fps=fps or flame_npz.FPS)
    elif suffix in (".pkl", ".npy"):
        motion = talkshow.load(path, fps=fps or talkshow.FPS)
    elif suffix in (*TABLES, *JSON, *film.SUFFIXES):
        recording = _recording(path, fps, how, assets)
        recording = drive.region_of_recording(recording, how)
        map_of_nameless = None if model.expression_names else arkit
        motion = drive.livelink_motion(recording, model, arkit=map_of_nameless)
    else:
        raise Refused(f"{path}: motions are {KINDS}; convert it first")
    for note in motion.notes:
        print(f"note: {path.name}: {note}", flush=True)
    out = drive.retarget(motion, model, shape=shape, expression=expression, root=root)
    return drive.region_of_motion(out, model, how) if recording is None else out


def within(folder: str | os.PathLike) -> list[Path]:
    """The motions in a folder, in the order of their names; [] for what is itself one motion, or no folder.

    `flame_npz.is_sequence` says which folders are one motion. Otherwise each file of a kind that `load` reads
    is a motion, .txt and hidden ones aside, and each folder in it that is one.

    Raises:
      Refused: it holds no motion at all.
    """
    folder = Path(folder)
    if not folder.is_dir() or flame_npz.is_sequence(folder):
        return []
    found = [path for path in folder.iterdir() if not path.name.startswith(".") and _is_motion(path)]
    if not found:
        raise Refused(f"{folder} holds no motion: motions are {KINDS}")
    return sorted(found, key=flame_npz.natural)


def _is_motion(path: Path) -> bool:
    if path.is_dir():
        return flame_npz.is_sequence(path)
    kinds = (".npz", ".pkl", ".npy", *TABLES, *JSON, *film.SUFFIXES)
    return path.suffix.lower() in kinds and path.suffix.lower() != ".txt"


def _recording(
    path: Path, fps: float | None, how: Retargeting, assets: str | os.PathLike | None
) -> Recording:
    """A take of named shapes, in the range that `how` asks for."""
    if path.suffix.lower() not in film.SUFFIXES:
        found = mediapipe.load(path, fps=fps) if path.suffix.lower() in JSON else _table(path, fps)
        return drive.calibrated(found, "none" if how.calibrate == "auto" else how.calibrate)
    found = motion_video.load(
        path,
        assets=assets,
        neutral=None if how.neutral < 0 else how.neutral,
        from_rest=how.calibrate != "none",
        fps=fps,
    )
    kind = {"auto": "blinks", "range": "extremes"}.get(how.calibrate, "none")  # rest is taken off already
    return drive.calibrated(found, kind)


def _table(path: Path, fps: float | None) -> Recording:
    """Live Link Face's table, which has timecodes, or MediaPipe's."""
    table = text_tables.read(path)
    reader = mediapipe if table.column(livelink.TIMECODE) is None else livelink
    return reader.from_table(table, fps=fps)
