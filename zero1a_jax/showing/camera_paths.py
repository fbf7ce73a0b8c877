"""Where the camera is in each frame: still, around the head, swinging, or by a file."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.types import Array, Camera

NAMED = ("fixed", "orbit", "sway")
ROUND, SWING, REACH = 8.0, 4.0, 20.0  # seconds of a turn and of a swing; degrees of a swing to each side
COLUMNS = ("yaw", "pitch", "radius")
_DEFAULTS = {"yaw": 0.0, "pitch": 0.0, "radius": 1.0}
_STEEPEST, _NEAR, _FAR = 89.0, 0.2, 20.0  # degrees; metres


def path(camera: str, count: int, fps: float) -> np.ndarray:
    """Yaw and pitch in degrees and radius in metres, float64 [count, 3]; yaw and pitch as `geometry.orbit`'s.

    Args:
      camera: "fixed", "orbit" (once around in 8 s), "sway" (20 degrees to each side, once in 4 s), or a .json
        or .csv of `load`, whose last row holds where it is shorter than the motion.
      count: frames. fps: frames a second.

    Raises:
      Refused, FileNotFoundError: as `load`.
    """
    time = np.arange(count) / fps
    still = np.tile([0.0, 0.0, 1.0], (count, 1))
    if camera == "orbit":
        still[:, 0] = 360.0 * time / ROUND
    elif camera == "sway":
        still[:, 0] = REACH * np.sin(2 * np.pi * time / SWING)
    elif camera != "fixed":
        rows = load(camera)
        return rows[np.minimum(np.arange(count), len(rows) - 1)]
    return still


def load(file: str) -> np.ndarray:
    """A camera path from a file, [N, 3]: yaw and pitch in degrees, radius in metres, a row a frame.

    A .csv has a header with the columns yaw, pitch and radius; a .json is a list of objects with these names,
    or an object of lists. What is left out is 0, 0 and 1.

    Raises:
      FileNotFoundError: there is no such file. Refused: it is no such path, or its values are out of range.
    """
    source = Path(file).expanduser()
    if source.suffix.lower() not in (".json", ".csv"):
        raise Refused(f"--camera={file}: choose from {', '.join(NAMED)}, or give a .json or .csv")
    if not source.is_file():
        raise FileNotFoundError(f"there is no camera path at {file}")
    try:
        text = source.read_text("utf-8-sig")
        rows = _json_rows(json.loads(text)) if source.suffix.lower() == ".json" else _csv_rows(text)
        found = [[float(row.get(name, _DEFAULTS[name])) for name in COLUMNS] for row in rows]
    except (ValueError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise Refused(f"{file} is no camera path, rows of yaw, pitch and radius: {error}") from error
    if not found:
        raise Refused(f"{file} holds no rows of yaw, pitch and radius")
    values = np.array(found)
    for row, (yaw, pitch, radius) in enumerate(values, 1):
        if not (math.isfinite(yaw) and abs(pitch) <= _STEEPEST and _NEAR <= radius <= _FAR):
            raise Refused(
                f"{file}, row {row}: yaw {yaw:g}, pitch {pitch:g}, radius {radius:g}; pitch must be within "
                f"{_STEEPEST:g} degrees and radius from {_NEAR:g} to {_FAR:g} metres"
            )
    return values


def cameras(target: Array, rows: np.ndarray, width: int, height: int) -> Camera:
    """Cameras [N] for the rows of `path`: the canonical framing fits the frame's shorter side."""
    yaw, pitch = np.radians(rows[:, 0]), np.radians(rows[:, 1])
    square = portrait_camera(
        target,
        yaw.astype(np.float32),
        pitch.astype(np.float32),
        min(width, height),
        distance=rows[:, 2].astype(np.float32),
    )
    return widened(square, width, height)


def widened(camera: Camera, width: int, height: int) -> Camera:
    """Cameras of the same focal length whose frames are of another size, centred as before."""
    shift = np.array([width - camera.width, height - camera.height], np.float32) / 2
    return camera.replace(center=camera.center + shift, width=width, height=height)


def size_of(text: str | int) -> tuple[int, int]:
    """(width, height) in pixels of "256" or "512x768", sides from 32 to 2048; else Refused."""
    parts = str(text).lower().split("x")
    if len(parts) in (1, 2) and all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        width, height = int(parts[0]), int(parts[-1])
        if all(32 <= side <= 2048 for side in (width, height)):
            return width, height
    raise Refused(f"--size={text} must be a side such as 256, or 512x768 (width x height), from 32 to 2048")


def _csv_rows(text: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    names = [str(name).strip().lower() for name in reader.fieldnames or ()]
    if not set(names) & set(COLUMNS):
        raise ValueError("the header names none of them")
    return [
        {name: row[key] for name, key in zip(names, reader.fieldnames or (), strict=True)} for row in reader
    ]


def _json_rows(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        lists = {name: value[name] for name in COLUMNS if name in value}
        if not lists or len({len(given) for given in lists.values()}) != 1:
            raise ValueError("its lists are missing or of different lengths")
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    if not isinstance(value, list) or not all(
        isinstance(row, dict) and set(row) & set(COLUMNS) for row in value
    ):
        raise ValueError("it is no list of objects with these names")
    return value
