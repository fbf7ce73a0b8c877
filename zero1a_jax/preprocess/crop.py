"""Similarity maps from a picture to the canonical crop, and sampling along them.

A transform [2, 3] maps the picture's pixel coordinates (edges whole, centres at +0.5) to the crop's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.ndimage
from PIL import Image

from zero1a_jax.errors import Refused
from zero1a_jax.types import Camera

ndimage: Any = scipy.ndimage  # its own annotations mislead type checkers

FIRST_CROP = 2.4  # side of the first crop in extents of the 105 points
SMALLEST_FACE = 12.0  # pixels between the outermost points


def similarity(center: np.ndarray, angle: float, scale: float, size: int) -> np.ndarray:
    """Turns about `center` [2] by -`angle` (radians, clockwise on screen), scales, and puts the centre
    in the middle of a `size` crop."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[c, s], [-s, c]])
    return np.concatenate([linear, (0.5 * size - linear @ center)[:, None]], 1)


def chain(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The transform that applies `first`, then `second`."""
    linear = second[:, :2] @ first[:, :2]
    return np.concatenate([linear, second[:, :2] @ first[:, 2:] + second[:, 2:]], 1)


def invert(transform: np.ndarray) -> np.ndarray:
    """The transform [2, 3] back."""
    linear = np.linalg.inv(transform[:, :2])
    return np.concatenate([linear, -linear @ transform[:, 2:]], 1)


def around(points: np.ndarray, rotation: np.ndarray, size: int) -> np.ndarray:
    """A first crop: upright by the head's rotation [3, 3], around landmarks [K, 2].

    Raises Refused where they are too close together.
    """
    low, high = points.min(0), points.max(0)
    extent = float((high - low).max())
    if extent < SMALLEST_FACE:
        raise Refused(f"The face is only {extent:.0f} pixels large: use a larger picture.")
    angle = math.atan2(rotation[0, 1], rotation[1, 1])  # where the head's up points, from the image's up
    return similarity(0.5 * (low + high), angle, size / (FIRST_CROP * extent), size)


def recentre(transform: np.ndarray, camera: Camera, target: np.ndarray, distance: float = 1.0) -> np.ndarray:
    """The crop in which `target` [3], seen by the crop's `camera`, is in the middle, at `distance`
    metres, and the head's up is the image's."""
    matrix = np.asarray(camera.world_to_camera, np.float64)
    seen = matrix[:3, :3] @ np.asarray(target, np.float64) + matrix[:3, 3]
    pixel = seen[:2] / seen[2] * np.asarray(camera.focal) + np.asarray(camera.center)
    angle = math.atan2(matrix[0, 1], -matrix[1, 1])
    return chain(similarity(pixel, angle, seen[2] / distance, camera.width), transform)


def warp(picture: np.ndarray, transform: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The crop [size, size, C] in 0..1 of a picture [H, W, C] uint8, and its coverage [size, size].

    Shrinking averages. Beyond the picture its border repeats, and coverage is 0.
    """
    shrink = 1.0 / math.sqrt(abs(np.linalg.det(transform[:, :2])))
    block = max(1, int(shrink))
    if block > 1:
        planes = (Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(picture, -1, 0))
        picture = np.stack([np.asarray(plane.reduce(block)) for plane in planes], -1)
    scaled = transform.copy()
    scaled[:, :2] *= block
    inverse = np.linalg.inv(scaled[:, :2])
    fine = 2  # samples a pixel and axis: what is left of the shrinking
    matrix = inverse[::-1, ::-1] / fine  # in (y, x) order
    # Pixel i of the fine grid lies at (i + 0.5) / fine of the crop, pixel j of the picture at j + 0.5.
    offset = (inverse @ (0.5 / fine - scaled[:, 2]) - 0.5)[::-1]
    shape = (size * fine, size * fine)

    def sample(plane: np.ndarray, **how: object) -> np.ndarray:
        values = ndimage.affine_transform(plane, matrix, offset, shape, np.float32, order=1, **how)
        return values.reshape(size, fine, size, fine).mean((1, 3))

    values = picture.astype(np.float32) / 255.0
    planes = [sample(values[..., i], mode="nearest") for i in range(values.shape[-1])]
    ones = np.ones(picture.shape[:2], np.float32)
    return np.stack(planes, -1), sample(ones, mode="grid-constant", cval=0.0)
