"""Staying with one face through a film: the largest of a shot, as long as it is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from zero1a_jax.preprocess.detect import Detection, extent, together
from zero1a_jax.preprocess.detect_mediapipe import Box, Look, area, parts

PATIENCE = 1.0  # seconds that a lost face is waited for while others are there
SEARCH = 0.5  # seconds between searches of the whole picture for small faces
REACH = 0.6  # of a face's side that it may move between two frames
STILL = 0.1  # likewise, of a face that stays where it was while the picture changes around it
GROWTH = 1.7  # factor by which its side may change meanwhile
TURN, TURN_RATE = np.radians(14.0), np.radians(600.0)  # a head that turns by more and faster was cut
THUMB = 32  # pixels a side of the copies in which cuts are looked for
# Of their 256 greys, by how many a cut changes a pixel on average, and how much more than motion does.
THUMB_CHANGE, THUMB_RATIO = 10.0, 4.0


class Seen(NamedTuple):
    """One frame of a film."""

    seconds: float
    face: Detection | None  # the followed one
    shot: int  # grows by one where the film is cut or another face is taken up
    faces: int  # how many there are


def follow(film: Iterable[tuple[float, np.ndarray]], look: Look) -> Iterator[Seen]:
    """Follows a face through frames (seconds, rgb uint8 [H, W, 3]), of which one is held at a time.

    A shot starts with its largest face, or with that which stands where the last one did. From frame to frame
    the face nearest to where it was is the same one; while it is hidden, no other is taken for it, until it
    has been away for a second. A frame that differs from the last one as a whole, or a head that turns faster
    than heads do, starts a shot.
    """
    cuts, last, shot = _Cuts(), None, 0
    searched = -np.inf
    for seconds, picture in film:
        if cuts.cut(picture):
            last, before, shot, searched = None, last, shot + 1, -np.inf
        else:
            before = None
        faces = _everyone(look, picture, None if last is None else last.face)
        if not faces and last is None and seconds - searched >= SEARCH:
            searched, faces = seconds, _search(look, picture)
        face = _first(faces, before, seconds) if last is None else _same(faces, last, seconds)
        if face is None and faces and last is not None and seconds - last.seconds > PATIENCE:
            face, last, shot = max(faces, key=area), None, shot + 1
        if face is not None and last is not None and _jumps(face, seconds, last):
            shot += 1
        if face is not None:
            last = _Last(seconds, face)
        yield Seen(seconds, face, shot, len(faces))


class _Last(NamedTuple):
    seconds: float
    face: Detection


class _Cuts:
    """Tells from small grey copies where the picture changes as a whole."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._changes: deque[float] = deque(maxlen=12)

    def cut(self, picture: np.ndarray) -> bool:
        """Whether this frame starts a shot; the first does not."""
        grey = Image.fromarray(picture).convert("L").resize((THUMB, THUMB), Image.Resampling.BOX)
        thumb = np.asarray(grey, np.float32)
        last, self._last = self._last, thumb
        if last is None:
            return False
        change = float(np.abs(thumb - last).mean())
        usual = float(np.median(self._changes)) if self._changes else 0.0
        if change > THUMB_CHANGE and change > THUMB_RATIO * usual:
            self._changes.clear()
            return True
        self._changes.append(change)
        return False


def _everyone(look: Look, picture: np.ndarray, last: Detection | None) -> list[Detection]:
    """The faces of the picture, or where there seem to be none those around the last place."""
    height, width = picture.shape[:2]
    faces = look(picture, (0.0, 0.0, float(width), float(height)))
    if not faces and last is not None:
        middle, side = extent(last)
        low, high = middle - 1.1 * side, middle + 1.1 * side
        faces = look(picture, (low[0], low[1], high[0], high[1]))
    return _distinct(faces)


def _search(look: Look, picture: np.ndarray) -> list[Detection]:
    """As a still picture: with a margin, for a face that fills it, and in parts, for a small one."""
    height, width = picture.shape[:2]
    margin = 0.25 * max(height, width)
    wide: Box = (-margin, -margin, width + margin, height + margin)
    for boxes in ([wide], parts(width, height, 0.6)):
        faces = [face for box in boxes for face in look(picture, box)]
        if faces:
            return _distinct(faces)
    return []


def _distinct(faces: list[Detection]) -> list[Detection]:
    if len(faces) < 2:
        return faces
    first = together(faces, size=area)
    return [first, *first.others]


def _first(faces: list[Detection], before: _Last | None, seconds: float) -> Detection | None:
    """The face to follow in a new shot: that which stands where the last one did, else the largest."""
    still = None if before is None else _same(faces, before, seconds)
    if still is not None and before is not None and not _jumps(still, seconds, before):
        (at, side), (was, _) = extent(still), extent(before.face)
        if np.linalg.norm(at - was) < STILL * side:
            return still
    return max(faces, key=area, default=None)


def _same(faces: list[Detection], last: _Last, seconds: float) -> Detection | None:
    """The face that the last one has become; None where it is hidden."""
    middle, side = extent(last.face)
    reach = REACH * side * (1.0 + 2.0 * min(seconds - last.seconds, PATIENCE))
    near = []
    for face in faces:
        at, size = extent(face)
        away = float(np.linalg.norm(at - middle))
        if away <= reach and 1 / GROWTH <= size / side <= GROWTH:
            near.append((away, face))
    return min(near, key=lambda item: item[0])[1] if near else None


def _jumps(face: Detection, seconds: float, last: _Last) -> bool:
    turn = np.asarray(face.rotation, np.float64) @ np.asarray(last.face.rotation, np.float64).T
    angle = np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))
    return bool(angle > TURN + TURN_RATE * max(seconds - last.seconds - 1 / 30, 0.0))
