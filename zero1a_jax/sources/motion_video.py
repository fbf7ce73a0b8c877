"""A video of a face as a recording, through MediaPipe's face landmarker."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from zero1a_jax.drive import performance
from zero1a_jax.errors import Refused
from zero1a_jax.image import film
from zero1a_jax.preprocess import detect, follow
from zero1a_jax.preprocess.detect_mediapipe import Look, landmarker_opener
from zero1a_jax.types import Recording

LONGEST = 1280  # pixels of the longer side that the landmarker is given
EVERY = 5.0  # seconds between two lines of progress
SAME_RATE = 0.02  # the header's rate is used where the times say the same but for rounding


def load(
    path: str | os.PathLike,
    *,
    assets: str | os.PathLike | None = None,
    neutral: float | None = None,
    from_rest: bool = True,
    fps: float | None = None,
) -> Recording:
    """What the face in a video does: ARKit's shapes, gaze and the head's turn, see drive.performance.

    Frames are read one at a time; progress is printed where it takes long.

    Args:
      path: the video, see image.film.
      assets: the folder with face_landmarker.task; None looks at ZERO1A_ASSETS.
      neutral: seconds at which the face is at rest and looks ahead; None takes the take's own middle.
      from_rest: whether shapes are taken relative to the face at rest.
      fps: the recording rate; None takes the video's.

    Raises:
      FileNotFoundError: there is no such file.
      Refused: no landmarker or no MediaPipe, no readable video, or no face in most frames.
    """
    path = Path(path)
    about = film.about(path)
    opened = landmarker_opener(_landmarker(path, assets))
    with opened() as look:
        frames = _progress(film.frames(path, longest=LONGEST), about.count, path.name)
        return watched(frames, look, path=path, rate=about.fps, neutral=neutral, from_rest=from_rest, fps=fps)


def watched(
    frames: Iterable[tuple[float, np.ndarray]],
    look: Look,
    *,
    path: str | os.PathLike,
    rate: float,
    neutral: float | None = None,
    from_rest: bool = True,
    fps: float | None = None,
) -> Recording:
    """As `load`, of frames (seconds, rgb uint8 [H, W, 3]) and a landmarker; `rate` is the header's."""
    seconds, seen, names, crowded = [], [], (), 0
    for item in follow.follow(frames, look):
        seconds.append(item.seconds)
        crowded += item.faces > 1
        if item.face is not None:
            names = tuple(item.face.scores)
            weights = np.array(list(item.face.scores.values()))
            seen.append((item.seconds, weights, item.face.rotation, item.shot))
    if len(seen) < 0.5 * len(seconds) or not seen:
        raise Refused(
            f"{path}: a face was found in {len(seen)} of {len(seconds)} frames; cut the video to where a "
            "face is seen from the front"
        )
    times, weights, rotations, shots = (np.array(values) for values in zip(*seen, strict=True))
    notes = _notes(len(seconds), len(seen), crowded, shots)
    steps = np.diff(seconds)
    usual = 1 / float(np.median(steps)) if len(steps) else rate
    usual = rate if abs(usual / rate - 1) < SAME_RATE else usual
    return performance.recording(
        times,
        weights,
        rotations,
        shots,
        names,
        fps=fps or usual,
        length=seconds[-1],
        neutral=neutral,
        relative=from_rest,
        notes=notes,
    )


def _landmarker(path: Path, assets: str | os.PathLike | None) -> Path:
    file = detect.landmarker(assets)
    if file is None:
        raise Refused(
            f"{path.name} is a video: MediaPipe's {detect.MEDIAPIPE_FILE} reads the face in it; give its "
            "folder as --assets or ZERO1A_ASSETS (docs/assets.md)"
        )
    if not detect.has_mediapipe():
        raise Refused(f"{path.name} is a video: MediaPipe reads the face in it (pip install mediapipe)")
    return file


def _notes(frames: int, seen: int, crowded: int, shots: np.ndarray) -> list[str]:
    notes = []
    if seen < frames:
        notes.append(f"{frames - seen} of {frames} frames without the face were bridged.")
    if crowded:
        notes.append(
            f"{crowded} frames show several faces: the largest at the start of each shot is followed."
        )
    cuts = len(np.unique(shots)) - 1
    if cuts:
        notes.append(f"{cuts} cut{'s' if cuts > 1 else ''} or changes of the face were eased over.")
    return notes


def _progress(frames: Iterable, count: int | None, name: str) -> Iterator:
    """The frames; says now and then how many there were."""
    said, said_any = time.monotonic(), False
    number = 0
    for number, frame in enumerate(frames, 1):
        yield frame
        if time.monotonic() - said > EVERY:
            said, said_any = time.monotonic(), True
            share = f" of {count} ({100 * number / count:.0f} %)" if count and number <= count else ""
            print(f"reading {name}: {number}{share} frames", flush=True)
    if said_any:
        print(f"reading {name}: {number} frames, done", flush=True)
