"""Rows of ARKit weights to a Recording: lost faces bridged, units known, pauses refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zero1a_jax.converters.arkit import MEDIAPIPE, NAMES
from zero1a_jax.converters.text_tables import TextTable
from zero1a_jax.converters.timecode import Times
from zero1a_jax.errors import Refused
from zero1a_jax.types import Recording

PAUSE = 2.0  # seconds without a row that are always bridged
OVERSHOOT = 1.5  # weights are 0..1; a little more happens, and exaggeration
PERCENT = 10.0  # the least that a take in 0..100 reaches
SPARSE = 240  # frames of the motion that one row may stand for
TURN = 3.2  # radians: no angle in radians is larger
_SHAPES = {name.lower(): name for name in (*NAMES, *MEDIAPIPE)}


def shape_name(name: str) -> str | None:
    """The name to store for a column; None for what is no shape of ARKit's or MediaPipe's.

    As written where only its case differs from ARKit's; ARKit's own for eyeBlink_L or eye_blink_left.
    """
    low = name.lower()
    if low in _SHAPES:
        return name
    sided = low + {"_l": "eft", "_r": "ight"}.get(low[-2:], "")
    return _SHAPES.get(sided.replace("_", "").replace("-", "").replace(" ", ""))


def columns(table: TextTable) -> dict[str, int]:
    """The columns of a table that hold shapes, by the name to store, in the table's order.

    Raises Refused where there is none, or one comes twice in different spellings.
    """
    out: dict[str, int] = {}
    for column, name in enumerate(table.header):
        shape = shape_name(name)
        if shape is not None and shape.lower() in (known.lower() for known in out):
            raise Refused(f"{table.path}: two columns have the same name, {shape}; keep one of them")
        if shape is not None:
            out[shape] = column
    if not out:
        raise Refused(f"{table.path}: none of its columns is one of ARKit's shapes, such as JawOpen")
    return out


def recording(
    path: Path,
    names: Sequence[str],
    weights: np.ndarray,
    times: Times,
    *,
    rotations: np.ndarray | None = None,
    lost: np.ndarray | None = None,
    lines: Sequence[int] | None = None,
) -> Recording:
    """A Recording of T rows, some of which may have no face.

    Rows without a face are filled linearly over time from the rows around them, held at the ends; so are
    single missing values. Weights of 0..100 are divided by 100, angles that only degrees can be are turned to
    radians. Each of these is told in `notes`.

    Args:
      path: the file, for messages.
      names: [K] shapes.
      weights: [T, K], NaN where missing; a column without any value is 0.
      times: when the rows were recorded.
      rotations: [T, 9] radians, as in Recording, likewise; None for 0.
      lost: [T] bool, rows that are known to have no face. A row that lacks most weights has none either.
      lines: [T] each row's line in the file, where it has lines.

    Raises:
      Refused: most rows have no face, weights of another range, or a pause longer than all that was recorded.
    """
    rows = len(weights)
    turns = np.zeros((rows, 9)) if rotations is None else rotations
    gone = np.isnan(weights)
    used = ~gone.all(0)
    faceless = gone[:, used].mean(1) > 0.5 if used.any() else np.ones(rows, bool)
    if lost is not None:
        faceless = faceless | lost
    if faceless.mean() > 0.5:
        raise Refused(
            f"{path}: {faceless.sum()} of {rows} rows have no face, their cells are empty or not finite; "
            "cut the file to where a face was seen"
        )
    notes = list(times.notes)
    if faceless.any():
        notes.append(f"{faceless.sum()} of {rows} rows without a face were bridged.")
    holes = gone[:, used].any(1) & ~faceless
    if holes.any():
        notes.append(f"{holes.sum()} of {rows} rows had empty cells, which were bridged.")
    weights, turns = (np.where(faceless[:, None], np.nan, values) for values in (weights, turns))
    weights = _bridged(_of_ones(path, weights, notes), times.seconds)
    turns = _bridged(_in_radians(turns, notes), times.seconds)
    _check_pauses(path, times.seconds, times.fps, lines, notes)
    return Recording(
        weights=weights,
        rotations=turns,
        frame=times.frame,
        seconds=times.seconds,
        names=tuple(names),
        fps=times.fps,
        notes=tuple(notes),
    )


def _bridged(values: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    out = np.zeros_like(values)
    for c, column in enumerate(values.T):
        good = np.isfinite(column)
        if good.any():
            out[:, c] = np.interp(seconds, seconds[good], column[good])
            out[good, c] = column[good]
    return out


def _of_ones(path: Path, weights: np.ndarray, notes: list[str]) -> np.ndarray:
    """Weights of 0..1, from weights of 0..1 or 0..100."""
    known = np.nan_to_num(weights)
    low, high = float(known.min(initial=0)), float(known.max(initial=0))
    if high <= OVERSHOOT and low >= -OVERSHOOT:
        return weights
    most = known.max(1)[np.isfinite(weights).any(1)]
    alike = np.mean(most > OVERSHOOT) > 0.5  # a spike in weights of 0..1 is something else
    if PERCENT <= high <= 100 * OVERSHOOT and low >= -PERCENT and alike:
        notes.append(f"its weights reach {high:g}: they are taken as 0..100 and divided by 100.")
        return weights / 100
    if low < -OVERSHOOT and high <= OVERSHOOT:
        raise Refused(f"{path}: its weights go down to {low:g}; ARKit's are 0..1, bring them there first")
    raise Refused(
        f"{path}: its weights reach {high:g}, which is neither 0..1 nor 0..100 throughout; bring them to 0..1"
    )


def _in_radians(turns: np.ndarray, notes: list[str]) -> np.ndarray:
    most = float(np.abs(np.nan_to_num(turns)).max(initial=0))
    if most <= TURN:
        return turns
    notes.append(f"its head or eye angles reach {most:g}: they are taken as degrees.")
    return np.radians(turns)


def _check_pauses(
    path: Path, seconds: np.ndarray, fps: float, lines: Sequence[int] | None, notes: list[str]
) -> None:
    steps = np.diff(seconds)
    recorded = float(steps[steps <= PAUSE].sum())
    worst = int(np.argmax(steps)) if len(steps) else 0
    if len(steps) and steps[worst] > max(PAUSE, recorded):
        where = f"frame {worst + 2}" if lines is None else f"row {lines[worst + 1]}"
        raise Refused(
            f"{path}, {where}: {steps[worst]:.0f} s without a row come before it, longer than the "
            f"{recorded:.1f} s that were recorded; cut the file there into takes of their own"
        )
    if seconds[-1] * fps > SPARSE * (len(seconds) + 1):
        raise Refused(f"{path}: {len(seconds)} rows in {seconds[-1]:.0f} s at {fps:g} a second are too few")
    if len(steps) and steps[worst] > PAUSE / 2:
        notes.append(f"a pause of {steps[worst]:.1f} s without a row was bridged.")
