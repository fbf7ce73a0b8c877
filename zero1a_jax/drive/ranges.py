"""Bringing a tracker's range to the avatar's: what is rest becomes 0, what is the most becomes nearly all."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from zero1a_jax.types import Recording

REST = 10.0  # percent of a take's frames in which a shape is at rest
MOST = 99.5  # percentile of the frames that counts as a take's extreme: blinks are short, spikes shorter
FULL = 0.8  # of the avatar's reach that the extreme becomes: takes seldom hold a face's real extremes
CLOSED = 1.0  # likewise of blinks, which do close
LEAST = 0.15  # shapes that never pass it do not take part in the take: stretching them would show noise
GAIN = 3.0  # the most that a shape is stretched
ONE_SIDED = ("mouthleft", "mouthright", "jawleft", "jawright", "mouthfunnel")  # no halves of a pair
BLINK, GAZE = "eyeblink", "eyelook"  # beginnings of names; gaze is signed and has no rest at 0


def calibrated(recording: Recording, calibrate: str) -> Recording:
    """The recording in the avatar's range: "none", "rest", "range", "extremes" for range where rest is 0
    already, "blinks" for that of those alone."""
    weights = calibrated_weights(recording.names, recording.weights, calibrate)
    return recording.replace(weights=weights)


def calibrated_weights(names: Sequence[str], weights: np.ndarray, calibrate: str) -> np.ndarray:
    """Weights [T, K] of the shapes `names`, likewise.

    "rest" takes off what a tenth of the frames stay under. "range" also scales each shape so that the most
    that the take has of it, its 99.5th percentile, becomes 0.8 (blinks: 1), by at most 3 and never down. Left
    and right are scaled alike, so that a lopsided face stays so. Gaze stays as it is.
    """
    out = np.array(weights, np.float64)
    if calibrate == "none" or not len(out):
        return out
    plain = [name.lower().replace("_", "") for name in names]
    free = np.array([not name.startswith(GAZE) for name in plain])
    if calibrate in ("rest", "range"):
        out[:, free] = without_rest(out, rest_of(out))[:, free]
    if calibrate == "rest":
        return out
    most = np.percentile(out, MOST, axis=0)
    groups = [name if name in ONE_SIDED else re.sub("(left|right)$", "", name) for name in plain]
    for group in dict.fromkeys(groups):
        blinks = group.startswith(BLINK)
        columns = [k for k, other in enumerate(groups) if other == group and free[k]]
        if not columns or (calibrate == "blinks" and not blinks) or most[columns].max() < LEAST:
            continue
        wanted = CLOSED if blinks else FULL
        out[:, columns] *= np.clip(wanted / most[columns].max(), 1.0, GAIN)
    return np.clip(out, 0, np.maximum(1, weights)) if len(out) else out


def rest_of(weights: np.ndarray) -> np.ndarray:
    """What shapes have at rest, [K] of weights [T, K]: what a tenth of the frames stay under."""
    return np.percentile(weights, REST, axis=0)


def without_rest(weights: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Weights [T, K] from which the rest [K] is taken off, so that rest becomes 0 and 1 stays 1."""
    return np.clip((weights - rest) / np.maximum(1 - rest, 0.2), 0, 1)
