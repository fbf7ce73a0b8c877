"""A face as it is seen now, as weights and a turn: relative to rest, smooth, from the past alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax.drive import performance
from zero1a_jax.drive.filters import OneEuro

CALIBRATION = 1.0  # seconds of a face, from the first on, that count as its rest


class LivePerformance:
    """What `performance.recording` does to a whole take, for one frame after the other.

    The first second of a face is its rest: the shapes that it has then are taken off, and its turn and gaze
    count as straight ahead. A take shows by itself what its rest is; here one keeps still for a second.
    """

    def __init__(self) -> None:
        """Not calibrated yet."""
        self._weights, self._angles = OneEuro(*performance.WEIGHTS), OneEuro(*performance.ANGLES)
        self._shot: int | None = None
        self.calibrate()

    def calibrate(self) -> None:
        """What is seen from now on, for a second, is rest."""
        self._until: float | None = None
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(
        self, seconds: float, scores: Mapping[str, float], rotation: np.ndarray, shot: int
    ) -> tuple[dict[str, float], np.ndarray]:
        """The face at `seconds`, increasing, as weights by name 0..1, and yaw, pitch, roll [3] in radians.

        Args:
          seconds: when the frame was captured. scores: ARKit's shapes by name.
          rotation: [3, 3] head to camera, see preprocess.Detection.rotation.
          shot: changes where another face or another view begins, which is smoothed anew.
        """
        names, values = tuple(scores), np.array(list(scores.values()), np.float64)
        turn = np.asarray(rotation, np.float64)
        if self._until is None:
            self._until = seconds + CALIBRATION
        if seconds < self._until:
            self._seen.append((values, turn))
            self._rest = np.median([weights for weights, _ in self._seen], axis=0)
            self._ahead = performance.gaze(names, self._rest[None])[0]
            self._pose = performance.middle(np.stack([pose for _, pose in self._seen]))
        if shot != self._shot:
            self._shot = shot
            self._weights.restart()
            self._angles.restart()
        moved = performance.from_rest(names, values[None], self._rest, self._ahead)[0]
        weights = np.clip(self._weights(seconds, moved), 0, 1)
        angles = Rotation.from_matrix(self._pose.T @ turn).as_euler("YXZ")
        return dict(zip(names, weights.tolist(), strict=True)), self._angles(seconds, angles)
