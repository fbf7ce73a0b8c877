"""ARKit recordings of the Live Link Face app (.csv).

Columns are matched by name, whatever their order and case. Timecode is HH:MM:SS:FF.mmm, FF the frame within
the second at the recording rate, .mmm thousandths of a frame; the app drops frames, so time comes from it.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.types import Recording

FPS = 60.0  # the app's default
ROTATIONS = tuple(
    f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")
)
_TIMECODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})[:;](\d{2,3}(?:\.\d+)?)")
_DAY = 24 * 3600


def load(path: str | os.PathLike, *, fps: float = FPS) -> Recording:
    """Reads a Live Link Face .csv.

    Args:
      path: the file.
      fps: the rate that the timecode's FF counts; 60 is the app's default, 30 the other choice.

    Raises:
      FileNotFoundError: there is no such file.
      Refused: not such a file, a row of the wrong length, a value that is no number, a timecode that runs
        backward or counts to more frames than `fps`; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no motion at {path}")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"{path} is not a text table: {error}") from error
    if len(rows) < 2:
        raise Refused(f"{path} holds no rows under a header")
    header = [name.strip() for name in rows[0]]
    index = {name.lower(): column for column, name in enumerate(header)}
    if len(index) != len(header):
        raise Refused(f"{path}: two columns have the same name")
    if "timecode" not in index:
        raise Refused(f"{path} has no Timecode column; it is not a Live Link Face recording")
    angles = {name.lower() for name in ROTATIONS}
    shapes = [
        c for c, name in enumerate(header) if name.lower() not in {"timecode", "blendshapecount", *angles}
    ]
    values = _numbers(path, rows, [*shapes, *(index[n.lower()] for n in ROTATIONS if n.lower() in index)])
    present = [i for i, name in enumerate(ROTATIONS) if name.lower() in index]
    rotations = np.zeros((len(values), len(ROTATIONS)))
    rotations[:, present] = values[:, len(shapes) :]
    frames = _frames(path, [row[index["timecode"]] for row in rows[1:]], fps)
    return Recording(
        names=tuple(header[c] for c in shapes),
        weights=values[:, : len(shapes)],
        rotations=rotations,
        frame=np.floor(frames + 1e-6).astype(np.int64) - int(np.floor(frames[0] + 1e-6)),
        seconds=(frames - frames[0]) / fps,
        fps=float(fps),
    )


def _numbers(path: Path, rows: list[list[str]], columns: list[int]) -> np.ndarray:
    out = np.zeros((len(rows) - 1, len(columns)))
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise Refused(f"{path}, row {line}: {len(row)} cells under {len(rows[0])} columns")
        try:
            out[line - 2] = [float(row[c]) for c in columns]
        except ValueError as error:
            raise Refused(f"{path}, row {line}: {error}") from error
    bad = np.argwhere(~np.isfinite(out))
    if len(bad):
        raise Refused(f"{path}, row {bad[0, 0] + 2}: a value is not finite")
    return out


def _frames(path: Path, timecodes: list[str], fps: float) -> np.ndarray:
    """Frames since midnight of the first row's day, with fractions."""
    if not fps > 0:
        raise Refused(f"fps is {fps}; give the recording rate, 60 or 30")
    out = np.zeros(len(timecodes))
    for i, text in enumerate(timecodes):
        match = _TIMECODE.fullmatch(text.strip())
        if match is None:
            raise Refused(f"{path}, row {i + 2}: the timecode {text!r} is not HH:MM:SS:FF.mmm")
        hours, minutes, seconds, frame = (float(part) for part in match.groups())
        if frame >= np.ceil(fps):
            raise Refused(f"{path}, row {i + 2}: frame {frame} of a second, at {fps} a second; set fps")
        out[i] = (hours * 3600 + minutes * 60 + seconds) * fps + frame
        if i and out[i] < out[i - 1] - _DAY * fps / 2:
            out[i] += _DAY * fps  # past midnight
        if i and out[i] < out[i - 1]:
            raise Refused(f"{path}, row {i + 2}: the timecode {text} runs backward")
    return out
