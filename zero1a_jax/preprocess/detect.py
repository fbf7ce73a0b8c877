"""Finding the face: MediaPipe where its model is there, else the embedded landmark net."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

MEDIAPIPE_FILE = "face_landmarker.task"
NO_FACE = "No face was found in the picture: use one where a face is upright, unhidden and large enough."


@dataclasses.dataclass(frozen=True)
class Detection:
    """One face in a picture.

    points [K, 2] pixels (x, y; centres at +0.5) of the MediaPipe face-mesh ids [K]. ids from 468 on are
    the iris points (468 and 473 the centres of the subject's right and left). rotation [3, 3] turns the
    head's axes (x the subject's left, y up, z out of the face) into the camera's turned to x right, y up,
    z toward the viewer: the identity faces the camera. scores are ARKit-named, 0..1, or empty.
    faces counts what was found; the largest is described. spread is how far a point lies from the fitted
    head's, metres, standard deviation, as the fit assumes.
    """

    points: np.ndarray
    ids: np.ndarray
    rotation: np.ndarray
    confidence: float
    scores: dict[str, float]
    faces: int
    source: str
    spread: float = 0.003

    def lookup(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points [K', 2] of the given ids, and which of them are known [K'] (others are zero)."""
        table = np.full(max(int(np.max(self.ids)), int(np.max(ids))) + 1, -1)
        table[self.ids] = np.arange(len(self.ids))
        row = table[np.asarray(ids)]
        return np.where((row >= 0)[:, None], self.points[row], 0.0).astype(np.float32), row >= 0

    def moved(self, transform: np.ndarray) -> Detection:
        """The same face after the affine map [2, 3] of the picture's pixel coordinates."""
        transform = np.asarray(transform, np.float64)
        points = self.points @ transform[:, :2].T + transform[:, 2]
        angle = np.arctan2(transform[1, 0], transform[0, 0])  # clockwise on screen
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])  # y up
        return dataclasses.replace(
            self, points=points.astype(np.float32), rotation=(turn @ self.rotation).astype(np.float32)
        )


Detector = Callable[[np.ndarray], Detection]
"""A function of a picture [H, W, 3] uint8; raises ValueError where it finds no face."""


def find_detector(assets: str | os.PathLike | None = None) -> Detector:
    """MediaPipe where its model file and its package are there, else the embedded landmark net.

    `assets` is a folder that may hold face_landmarker.task; without it the environment variable
    ZERO1A_ASSETS is read. Raises ValueError when the named folder does not exist.
    """
    folder = assets or os.environ.get("ZERO1A_ASSETS")
    if folder:
        if not Path(folder).is_dir():
            raise ValueError(f"The assets folder {folder} does not exist: check --assets or ZERO1A_ASSETS.")
        path = Path(folder) / MEDIAPIPE_FILE
        if path.is_file() and _has_mediapipe():
            from zero1a_jax.preprocess.detect_mediapipe import mediapipe_detector

            return mediapipe_detector(path)
    from zero1a_jax.preprocess.detect_embedded import embedded_detector

    return embedded_detector()


def _has_mediapipe() -> bool:
    from importlib.util import find_spec

    return find_spec("mediapipe") is not None
