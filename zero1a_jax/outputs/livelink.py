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
# What the embedded head's eyeLook shapes turn an eye by: (column of the angles, radians of weight 1).
_LOOKS = {
    "eyeLookOutLeft": (3, 0.45),
    "eyeLookInLeft": (3, -0.45),
    "eyeLookDownLeft": (4, 0.32),
    "eyeLookUpLeft": (4, -0.30),
    "eyeLookInRight": (6, 0.45),
    "eyeLookOutRight": (6, -0.45),
    "eyeLookDownRight": (7, 0.32),
    "eyeLookUpRight": (7, -0.30),
}


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


def with_gaze(names: Sequence[str], weights: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and angles, as `save` takes them, that both say where the eyes look, as Apple's do.

    On the embedded head what shapes and joints turn adds up; a reader takes one of the two. Where no joint
    of an eye turns all stays as it is, since a reader then takes the shapes. A weight is 1 at most: eyes that
    turn farther do so in the angles alone.
    """
    weights, angles = np.array(weights, np.float64), np.array(angles, np.float64)
    if not angles[:, 3:].any():
        return weights, angles
    looks = [(k, *_LOOKS[name]) for k, name in enumerate(names) if name in _LOOKS]
    for shape, angle, radians in looks:
        angles[:, angle] += radians * weights[:, shape]
    for shape, angle, radians in looks:
        weights[:, shape] = np.clip(angles[:, angle] / radians, 0, 1)
    return weights, angles
