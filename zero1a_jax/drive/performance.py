"""What a landmarker saw of a face over time, as a recording: relative to rest, smooth, without jumps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax.drive.filters import one_euro
from zero1a_jax.drive.ranges import rest_of, without_rest
from zero1a_jax.errors import Refused
from zero1a_jax.types import Recording

EASE = 0.2  # seconds on each side of a cut over which one shot turns into the next
NEUTRAL = 0.1  # seconds around the neutral frame that count for it
SAME_POSE, SAME_RATE = np.radians(8.0), np.radians(60.0)  # a second: turns that need no other camera
LONG = 1.0  # seconds from which a shot has a neutral pose of its own
# Hz at rest and per unit a second, see filters.one_euro: quick moves, as blinks, pass almost unchanged.
WEIGHTS, ANGLES = (2.0, 2.0), (1.5, 3.0)
# MediaPipe's score answers late: it is about the opening to the power of 1 / 0.6 (docs/results/motion.md).
RESPONSE = {"jawOpen": 0.6}
GAZE = (("LookOut", "LookIn"), ("LookUp", "LookDown"))
GAZE_SIGNS = ((1, -1), (1, 1))  # of the left and the right eye, which look out to different sides
SIDES = ("Left", "Right")


def recording(
    seconds: np.ndarray,
    weights: np.ndarray,
    rotations: np.ndarray,
    shots: np.ndarray,
    names: Sequence[str],
    *,
    fps: float,
    length: float = 0.0,
    neutral: float | None = None,
    relative: bool = True,
    notes: Sequence[str] = (),
) -> Recording:
    """A face as it was seen in T frames, as a recording of how it moved.

    The head's turn is what it does from its neutral pose: that of the neutral frame, else the median of each
    shot, since another shot has another camera. Gaze likewise, both eyes as one. A shape's rest is its value
    in the neutral frame, else that which a tenth of the frames stay under (the median of a lively take is no
    rest); it is taken off, and 1 stays 1. The jaw's response is straightened. Then everything is smoothed
    within each shot, and shots are eased into each other.

    Args:
      seconds: [T] increasing, when the frames with a face were seen, since the film's start.
      weights: [T, K] 0..1 of the shapes `names`, ARKit's.
      rotations: [T, 3, 3] head to camera, see preprocess.Detection.rotation.
      shots: [T] int, grows where a shot starts.
      fps: the recording rate.
      length: seconds of the film; before the first face and after the last the head holds still.
      neutral: seconds at which the face is at rest and looks ahead; None as above.
      relative: False keeps the shapes' weights as they were seen, and gaze too.
      notes: of the recording.

    Raises:
      Refused: no frames, or none near the neutral time.
    """
    if not len(seconds):
        raise Refused("no frame has a face")
    still = None if neutral is None else _near(seconds, neutral)
    values = np.asarray(weights, np.float64)
    if relative:
        rest = rest_of(values) if still is None else values[still].mean(0)
        values = from_rest(names, values, rest, _ahead(gaze(names, values), still, shots))
    angles = _turns(np.asarray(rotations, np.float64), seconds, shots, still)
    values = eased(one_euro(values, seconds, shots, cutoff=WEIGHTS[0], beta=WEIGHTS[1]), seconds, shots)
    angles = eased(one_euro(angles, seconds, shots, cutoff=ANGLES[0], beta=ANGLES[1]), seconds, shots)
    first, last = int(seconds[0] > 0), int(length > seconds[-1])
    pad = ((first, last), (0, 0))
    seconds = np.concatenate([np.zeros(first), seconds, np.full(last, length)])
    return Recording(
        weights=np.pad(np.clip(values, 0, 1), pad, mode="edge"),
        rotations=np.pad(np.pad(angles, ((0, 0), (0, 6))), pad, mode="edge"),
        frame=np.round(seconds * fps).astype(np.int64),
        seconds=seconds,
        names=tuple(names),
        fps=float(fps),
        notes=tuple(notes),
    )


def eased(values: np.ndarray, seconds: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """Values [T, K] whose shots turn smoothly into each other, from EASE before a cut to EASE after it.

    Shorter shots are eased over half of their length.
    """
    out = np.array(values)
    for cut in np.nonzero(np.diff(shots))[0]:
        middle = 0.5 * (seconds[cut] + seconds[cut + 1])
        ends = []
        for shot, side in ((shots[cut], -1), (shots[cut + 1], 1)):
            times = seconds[shots == shot]
            ends.append(middle + side * min(EASE, 0.5 * (times[-1] - times[0]) + abs(times - middle).min()))
        rows = np.nonzero((seconds > ends[0]) & (seconds < ends[1]))[0]
        low, high = max(rows.min(initial=cut + 1) - 1, 0), min(rows.max(initial=cut) + 1, len(seconds) - 1)
        share = (seconds[low : high + 1] - seconds[low]) / (seconds[high] - seconds[low])
        share = (share * share * (3 - 2 * share))[:, None]
        out[low : high + 1] = values[low] * (1 - share) + values[high] * share
    return out


def _near(seconds: np.ndarray, neutral: float) -> np.ndarray:
    away = np.abs(seconds - neutral)
    if away.min() > 1.0:
        raise Refused(
            f"no face was seen within a second of the neutral time {neutral:g} s; the take is "
            f"{seconds[0]:.1f} to {seconds[-1]:.1f} s"
        )
    return away <= max(NEUTRAL, away.min())


def from_rest(names: Sequence[str], weights: np.ndarray, rest: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Weights [T, K] of the shapes `names` as they differ from the face at rest.

    Args:
      weights: as seen. rest: [K]. ahead: what `gaze` gives when the face looks ahead, [2] or [T, 2].

    The jaw's response is straightened, and both eyes look the same way.
    """
    out, column = without_rest(weights, rest), {name: k for k, name in enumerate(names)}
    for name, power in RESPONSE.items():
        if name in column:
            out[:, column[name]] **= power
    looked = gaze(names, weights) - ahead
    for axis, sign, plus, minus in _looks(names):
        moved = sign * looked[:, axis]
        out[:, plus], out[:, minus] = np.clip(moved, 0, 1), np.clip(-moved, 0, 1)
    return out


def gaze(names: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """How far the eyes look to the subject's left, and up, by weights [T, K] of ARKit's shapes: [T, 2].

    The mean of both eyes; 0 where shapes for it are missing.
    """
    out = np.zeros((len(weights), len(GAZE)))
    for axis, sign, plus, minus in _looks(names):
        out[:, axis] += sign * (weights[:, plus] - weights[:, minus]) / len(SIDES)
    return out


def _looks(names: Sequence[str]) -> list[tuple[int, int, int, int]]:
    """(axis of `gaze`, its sign, columns of the shapes there and back) of each eye, where all shapes are."""
    column, found = {name: k for k, name in enumerate(names)}, []
    for axis, (there, back) in enumerate(GAZE):
        shapes = [(f"eye{there}{side}", f"eye{back}{side}") for side in SIDES]
        if all(name in column for pair in shapes for name in pair):
            pairs = zip(GAZE_SIGNS[axis], shapes, strict=True)
            found += [(axis, sign, column[plus], column[minus]) for sign, (plus, minus) in pairs]
    return found


def _ahead(looked: np.ndarray, still: np.ndarray | None, shots: np.ndarray) -> np.ndarray:
    """Of gaze [T, 2] what counts as ahead, [T, 2]: the median of the neutral frames, or of each shot."""
    out = np.zeros_like(looked)
    for shot in np.unique(shots):
        rows = shots == shot
        out[rows] = np.median(looked[rows if still is None else still], axis=0)
    return out


def _turns(
    rotations: np.ndarray, seconds: np.ndarray, shots: np.ndarray, still: np.ndarray | None
) -> np.ndarray:
    """Yaw, pitch and roll [T, 3] from the neutral pose, as drive.livelink_motion takes them."""
    angles = np.zeros((len(rotations), 3))
    whole = middle(rotations)
    shots = _cameras(rotations, seconds, shots)
    for shot in np.unique(shots):
        rows = shots == shot
        times = seconds[rows]
        if still is not None and (still & rows).any():
            pose = middle(rotations[still & rows])
        else:
            pose = middle(rotations[rows]) if times[-1] - times[0] >= LONG else whole
        angles[rows] = Rotation.from_matrix(pose.T @ rotations[rows]).as_euler("YXZ")
    return angles


def _cameras(rotations: np.ndarray, seconds: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """The shots [T], joined where the head has the same pose on both sides: something else changed there."""
    turns = Rotation.from_matrix(rotations)
    angle = np.append(0.0, (turns[1:] * turns[:-1].inv()).magnitude())
    steps = np.diff(seconds, prepend=seconds[0])
    return np.cumsum((np.diff(shots, prepend=shots[0]) > 0) & (angle > SAME_POSE + SAME_RATE * steps))


def middle(rotations: np.ndarray) -> np.ndarray:
    """The median of rotations [T, 3, 3], by angle."""
    angles = np.median(Rotation.from_matrix(rotations).as_euler("YXZ"), axis=0)
    return Rotation.from_euler("YXZ", angles).as_matrix()
