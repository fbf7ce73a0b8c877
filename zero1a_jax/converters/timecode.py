"""When rows were recorded: timecodes HH:MM:SS:FF.mmm and how many frames they count a second.

FF is the frame within the second, .mmm thousandths of a frame. No file says how many frames make a second,
but FF does where it starts anew. 23.976, 29.97 and 59.94 are labelled as 24, 30 and 60. Drop-frame timecode,
with a semicolon before FF, leaves out the first two labels of 30 (four of 60) of each minute but every tenth,
so that its labels keep up with the clock. Source: SMPTE ST 12-1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zero1a_jax.errors import Refused

FPS = 60.0  # the Live Link Face app's default, where a take is too short to tell
RATES = (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 72, 90, 100, 120, 240)
FILM = 24  # slower rates are rare: several seconds have to agree on one
PAL = 25  # where every second lost its last frame its labels are those of FILM
DENSE = 0.75  # frames from row to row: with less the rows came from a faster camera
_LABEL = re.compile(r"(\d{1,2})[:;](\d{1,2})[:;](\d{1,2})([:;])(\d{1,3}(?:[.,]\d+)?)")
_CLOCK = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2}[.,]\d{3,9})")
_DAY, _DROP_UNIT = 24 * 3600, 30


@dataclass(frozen=True)
class Times:
    """When each of T rows was recorded."""

    seconds: np.ndarray  # [T] float64 since the first row, never falling
    frame: np.ndarray  # [T] int64 frames since the first row
    fps: float
    notes: tuple[str, ...] = ()


def read(path: Path, texts: Sequence[str], lines: Sequence[int], *, fps: float | None = None) -> Times:
    """The times of T timecodes, or of T clock times HH:MM:SS.mmm.

    Args:
      path, lines: the file and each row's line in it, for messages.
      texts: the timecodes.
      fps: the rate that FF counts; None takes it from where FF starts anew, and 60, with a note, where that
        does not tell. Drop-frame labels then count 30000/1001 or 60000/1001 a second.

    Raises:
      Refused: a text of another kind, FF beyond `fps`, time that runs backward; the message names the row.
    """
    if fps is not None and not fps > 0:
        raise Refused(f"fps is {fps}; give the recording rate, such as 60 or 30")
    clock = [_CLOCK.fullmatch(text) for text in texts]
    if all(clock):
        parts = np.array([[float(g.replace(",", ".")) for g in m.groups()] for m in clock if m])
        seconds = _forward(path, parts @ [3600, 60, 1], _DAY, texts, lines)
        rate = fps or rate_of(seconds) or FPS
        return Times(seconds, np.round(seconds * rate).astype(np.int64), rate)
    minutes, second, frame, drop = _labels(path, texts, lines)
    notes: tuple[str, ...] = ()
    counted = None if fps is None else int(np.ceil(fps - 1e-6))
    if counted is None:
        counted = _counted(60 * minutes + second, np.floor(frame).astype(int))
    if counted == FILM and fps is None:
        counted, notes = _film_or_pal(second, frame)
    if counted is None:
        counted = int(FPS)
        if len(texts) > 1:
            notes = (
                f"the timecode does not tell how many frames make a second: {counted} are assumed "
                "(--motion_fps or fps says another rate).",
            )
    beyond = np.flatnonzero(frame >= counted)
    if len(beyond):
        row = beyond[0]
        raise Refused(
            f"{path}, row {lines[row]}: frame {frame[row]:g} of a second, at {fps or counted:g} a second; "
            "set fps to what the timecode counts"
        )
    left_out = 2 * counted // _DROP_UNIT if drop and counted % _DROP_UNIT == 0 else 0
    if ((frame < left_out) & (second == 0) & (minutes % 10 != 0)).any():
        left_out = 0  # labels that drop-frame leaves out: it is only written with semicolons
    rate = fps or (counted * 1000 / 1001 if left_out else float(counted))
    total = (60 * minutes + second) * counted + frame - left_out * (minutes - minutes // 10)
    total = _forward(path, total, _DAY * counted - left_out * 9 * 24 * 6, texts, lines)
    whole = np.floor(total + frame[0] % 1 + 1e-6).astype(np.int64)
    dense = None if fps else _rows_a_second(total / rate)
    if dense is not None and dense > 1.25 * rate:  # the timecode came from a slower clock than the rows
        return Times(total / rate, np.round(total / rate * dense).astype(np.int64), dense, notes)
    return Times(total / rate, whole, float(rate), notes)


def rate_of(seconds: np.ndarray) -> float | None:
    """The usual rate of rows at these times [T], rounded to a common one within 5 %; None of fewer than 2."""
    steps = np.diff(seconds)
    steps = steps[steps > 0]
    return _common(1 / float(np.median(steps))) if len(steps) else None


def _common(rate: float) -> float:
    nearest = float(min(RATES, key=lambda r: abs(r - rate)))
    return nearest if abs(nearest - rate) < 0.05 * nearest else rate


def _rows_a_second(seconds: np.ndarray) -> float | None:
    """As `rate_of`, from the count of rows: single steps may be uneven, pauses do not count."""
    steps = np.diff(seconds)
    usual = steps[steps <= 3 * np.median(steps)] if len(steps) else steps
    return _common(len(usual) / usual.sum()) if len(usual) and usual.sum() > 0 else None


def _labels(
    path: Path, texts: Sequence[str], lines: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Minutes of the day [T], seconds [T], frames with fractions [T], whether semicolons stand before FF."""
    out = np.zeros((len(texts), 4))
    drop = False
    for i, text in enumerate(texts):
        match = _LABEL.fullmatch(text)
        if match is None:
            raise Refused(f"{path}, row {lines[i]}: the timecode {text[:40]!r} is not HH:MM:SS:FF.mmm")
        hours, minutes, seconds, mark, frame = match.groups()
        out[i] = float(hours), float(minutes), float(seconds), float(frame.replace(",", "."))
        drop = drop or mark == ";"
    whole = out[:, :3].astype(np.int64)
    if (whole[:, 1:] > 59).any():
        row = int(np.argmax((whole[:, 1:] > 59).any(1)))
        raise Refused(f"{path}, row {lines[row]}: the timecode {texts[row]} has no such minute or second")
    return 60 * whole[:, 0] + whole[:, 1], whole[:, 2], out[:, 3], drop


def _counted(second: np.ndarray, frame: np.ndarray) -> int | None:
    """Frames a second of labels (second of the day [T], frame [T]) from how FF starts anew; None: no telling.

    At the right rate the step over the end of a second is like the steps within. Lost rows only make it
    longer, so the shortest counts.
    """
    ahead = np.diff(second)
    inside = np.diff(frame)[(ahead == 0) & (np.diff(frame) > 0)]
    ends = np.flatnonzero((ahead == 1) | (ahead == 1 - _DAY))
    if not len(inside) or not len(ends):
        return None
    over = (frame[ends + 1] - frame[ends]).min()
    rates = [r for r in RATES if r > frame.max() and (r >= FILM or len(ends) > 2)]
    off = [abs(rate + over - np.median(inside)) for rate in rates]
    best = int(np.argmin(off)) if off else 0
    return rates[best] if off and off[best] <= rates[best] / 5 else None


def _film_or_pal(second: np.ndarray, frame: np.ndarray) -> tuple[int, tuple[str, ...]]:
    """24 or 25 frames a second, for labels that look like 24, and a note where they cannot tell.

    A take of 25 that lost the last frame of every second has the labels of one of 24. Rows of a faster camera
    tell, since at one of the two they come at a common rate. Rows a frame apart fit both.
    """
    steps = np.diff(frame)[(np.diff(second) == 0) & (np.diff(frame) > 0)]
    step = float(np.median(steps))
    off = [min(abs(rate * step / counted - 1) for rate in RATES) for counted in (FILM, PAL)]
    if step < DENSE and min(off) < 0.01 and max(off) > 0.03:
        return (FILM if off[0] < off[1] else PAL), ()
    note = (
        f"the timecode counts to {FILM - 1}: {FILM} frames a second are assumed; of a take at {PAL} that "
        f"lost the last frame of every second say --motion_fps={PAL} (fps={PAL})."
    )
    return FILM, (note,)


def _forward(
    path: Path, times: np.ndarray, day: float, texts: Sequence[str], lines: Sequence[int]
) -> np.ndarray:
    """Times [T] of a day as times since the first; what falls by more than half a day has passed midnight."""
    times = times + day * np.concatenate([[0], np.cumsum(np.diff(times) < -day / 2)])
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        row = back[0] + 1
        raise Refused(f"{path}, row {lines[row]}: the timecode {texts[row]} runs backward")
    return times - times[0]
