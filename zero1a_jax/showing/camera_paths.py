"""Where the camera goes while an avatar is shown: what --camera means."""

from __future__ import annotations

import math
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from zero1a_jax.converters import text_tables
from zero1a_jax.errors import Refused
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.types import Array, Camera

FRONT, SWAY, ORBIT = "front", "sway", "orbit"
_SWAY = (20.0, 4.0)  # degrees to each side, and seconds of going there and back
_ORBIT = 8.0  # seconds of once around the head
_NEAREST, _STEEPEST = 0.3, 80.0  # metres, degrees


def cameras(
    path: str | os.PathLike, target: Array, count: int, *, fps: float, size: tuple[int, int]
) -> Camera:
    """The cameras [T = count] of a path around a head.

    Args:
      path: "front" (still), "sway" (20 degrees to each side in 4 s), "orbit" (once around in 8 s), or a table
        of text whose rows are frames, with columns yaw, pitch (degrees; above 0 the subject's left, and from
        above) and distance (metres, 1 is usual), of which each may be missing, and seconds where they are not
        one frame apart. Between rows it goes straight; after the last it stays.
      target: [3] the middle of the head, `flame.frame_target`.
      count, fps: frames, and how many a second. size: width and height in pixels.

    Raises:
      FileNotFoundError: no such file.
      Refused: it is no such table, or a camera is nearer than 0.3 m or steeper than 80 degrees.
    """
    seconds, wide, high = np.arange(count) / fps, *size
    zero, one = np.zeros(count), np.ones(count)
    known = {
        FRONT: (zero, zero, one),
        SWAY: (_SWAY[0] * np.sin(2 * np.pi * seconds / _SWAY[1]), zero, one),
        ORBIT: (360.0 * seconds / _ORBIT, zero, one),
    }
    name = os.fspath(path)
    yaw, pitch, distance = known[name] if name in known else _table(Path(name), seconds, fps)
    side = min(wide, high)
    square = portrait_camera(target, np.radians(yaw), np.radians(pitch), side, distance=jnp.asarray(distance))
    center = jnp.broadcast_to(jnp.array([0.5 * wide, 0.5 * high], jnp.float32), square.center.shape)
    return square.replace(center=center, height=high, width=wide)


def _table(path: Path, seconds: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Yaw, pitch and distance at `seconds`."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no camera path {path}: give front, sway, orbit or a table")
    table = text_tables.read(path)
    columns = {name: table.column(name) for name in ("seconds", "yaw", "pitch", "distance")}
    known = {name: column for name, column in columns.items() if column is not None}
    if not known.keys() - {"seconds"}:
        raise Refused(f"{path} has none of the columns yaw, pitch and distance")
    values = dict(zip(known, table.numbers(list(known.values())).T, strict=True))
    for name, column in values.items():
        if np.isnan(column).any():
            raise Refused(f"{path}, row {table.lines[int(np.isnan(column).argmax())]}: no {name}")
    rows = len(table.rows)
    at = values.get("seconds", np.arange(rows) / fps)
    if (np.diff(at) <= 0).any():
        raise Refused(f"{path}: seconds do not grow from row to row")
    at = at - at[0]
    yaw = np.interp(seconds, at, values.get("yaw", np.zeros(rows)))
    pitch = np.interp(seconds, at, values.get("pitch", np.zeros(rows)))
    distance = np.interp(seconds, at, values.get("distance", np.ones(rows)))
    if np.abs(pitch).max(initial=0) > _STEEPEST or distance.min(initial=math.inf) < _NEAREST:
        raise Refused(f"{path}: pitch must stay within {_STEEPEST:g} degrees, distance above {_NEAREST} m")
    return yaw, pitch, distance
