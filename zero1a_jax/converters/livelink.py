"""ARKit recordings of the Live Link Face app (.csv).

Columns are matched by name, whatever their order and case. The app drops frames, so time comes from the
timecode. A row of BlendShapeCount 0, of empty cells or of Timecode and count alone is one in which the face
was lost.
"""

from __future__ import annotations

import os

import numpy as np

from zero1a_jax.converters import arkit_rows, text_tables, timecode
from zero1a_jax.errors import Refused
from zero1a_jax.types import Recording

TIMECODE, COUNT = "Timecode", "BlendShapeCount"
ROTATIONS = tuple(
    f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")
)


def load(path: str | os.PathLike, *, fps: float | None = None) -> Recording:
    """Reads a Live Link Face .csv, whatever delimiter, decimal mark and encoding it was saved with.

    Args:
      path: the file.
      fps: the rate that the timecode's FF counts; None takes it from the timecode, see `timecode.read`.

    Returns:
      Recording of the rows, those without a face bridged; `notes` says what was done.

    Raises:
      FileNotFoundError: there is no such file.
      Refused: not such a file, a row too long, a value that is no number, a timecode that runs backward or
        counts to more frames than `fps`, or as `arkit_rows.recording`; the message names the row.
    """
    return from_table(text_tables.read(path), fps=fps)


def from_table(table: text_tables.TextTable, *, fps: float | None = None) -> Recording:
    """As `load`, from its table."""
    path, clock = table.path, table.column(TIMECODE)
    if clock is None:
        raise Refused(f"{path} has no {TIMECODE} column; it is not a Live Link Face recording")
    shapes = arkit_rows.columns(table)
    weights = table.numbers(list(shapes.values()))
    rotations = np.zeros((len(table.rows), len(ROTATIONS)))
    known = [(i, c) for i, name in enumerate(ROTATIONS) if (c := table.column(name)) is not None]
    if known:
        places, columns = zip(*known, strict=True)
        rotations[:, list(places)] = table.numbers(list(columns))
    count = table.column(COUNT)
    lost = np.asarray(np.isnan(weights).all(1))
    if count is not None:
        lost = lost | (table.numbers([count])[:, 0] == 0)
    texts = table.cells(clock)
    timed = np.array([not text_tables.is_missing(text) for text in texts])
    rows = np.flatnonzero(timed | ~lost)  # a lost row without a time has no place
    if not len(rows):
        raise Refused(f"{path} has no row with a face; its cells are empty or not finite")
    lines = [table.lines[i] for i in rows]
    return arkit_rows.recording(
        path,
        tuple(shapes),
        weights[rows],
        timecode.read(path, [texts[i] for i in rows], lines, fps=fps),
        rotations=rotations[rows],
        lost=lost[rows],
        lines=lines,
    )
