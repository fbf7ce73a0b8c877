"""Where a head of known shape and expression stands before the camera, from its landmarks."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from zero1a_jax.flame.landmarks import landmarks_mediapipe
from zero1a_jax.flame.model import forward
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

SPREAD = 0.01  # of the landmarks' extent: points farther off pull less


def place(model: FlameModel, flame: FlameParams, landmarks: Array, camera: Camera) -> tuple[Camera, float]:
    """The camera, with the focal length and centre of `camera`, that sees a head at given landmarks.

    Args:
      flame: parameters without leading axes; the head as it is, so neck and global rotation count.
      landmarks: [105, 2] pixels in the order of the model's MediaPipe embedding.
      camera: one camera; its pose is where the search starts.

    Returns the camera, and the mean distance of the points as a fraction of the landmarks' extent. Robust
    least squares over a rotation and a translation; deterministic.
    """
    vertices, _ = forward(model, flame)
    points = np.asarray(landmarks_mediapipe(model, vertices), np.float64)
    wanted = np.asarray(landmarks, np.float64)
    first = np.asarray(camera.world_to_camera, np.float64)
    focal, center = np.asarray(camera.focal, np.float64), np.asarray(camera.center, np.float64)
    extent = float(np.ptp(wanted, axis=0).max())
    middle = points.mean(0)
    start = first[:3, :3] @ middle + first[:3, 3]

    def turned(unknown: np.ndarray) -> np.ndarray:
        return Rotation.from_rotvec(unknown[:3]).as_matrix() @ first[:3, :3]

    def away(unknown: np.ndarray) -> np.ndarray:
        seen = (points - middle) @ turned(unknown).T + unknown[3:]
        return ((seen[:, :2] / seen[:, 2:] * focal + center - wanted) / (SPREAD * extent)).ravel()

    found = least_squares(away, np.concatenate([np.zeros(3), start]), loss="soft_l1", x_scale=0.1).x
    matrix = np.eye(4)
    matrix[:3, :3] = turned(found)
    matrix[:3, 3] = found[3:] - matrix[:3, :3] @ middle
    error = float(np.linalg.norm(away(found).reshape(-1, 2), axis=-1).mean()) * SPREAD
    return camera.replace(world_to_camera=jnp.asarray(matrix, jnp.float32)), error
