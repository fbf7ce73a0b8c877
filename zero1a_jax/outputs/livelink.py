"""ARKit weights and rotations as a .csv of Live Link Face's layout, see `converters.livelink`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence

import numpy as np

from zero1a_jax import files
from zero1a_jax.errors import Refused

FPS = (24, 25, 30, 48, 50, 60)  # of which its timecode counts whole frames
_ROTATIONS = [
    f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")
]


def save(
    path: str | os.PathLike, names: Sequence[str], weights: np.ndarray, angles: np.ndarray, *, fps: float
) -> None:
    """Writes T rows, atomically.

    Args:
      path: the file.
      names: [K] of ARKit's shapes. weights: [T, K] in 0..1.
      angles: [T, 9] radians: yaw, pitch, roll of head, left eye, right eye.
      fps: one of FPS.

    Raises:
      Refused: another rate.
    """
    if fps not in FPS:
        raise Refused(
            f"a timecode counts {', '.join(map(str, FPS))} frames a second, not {fps:g}: give --fps"
        )
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["Timecode", "BlendShapeCount", *(n[:1].upper() + n[1:] for n in names), *_ROTATIONS])
    for number, (shape, angle) in enumerate(zip(weights, angles, strict=True)):
        # A clock whose frames start anew at the second row tells the rate also in a take of a moment.
        seconds, frame = divmod(number + int(fps) - 1, int(fps))
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}.000"
        numbers = [f"{value:.8f}" for value in (*shape, *angle)]
        rows.writerow([clock, len(names) + len(_ROTATIONS), *numbers])
    files.write_text(path, text.getvalue())
