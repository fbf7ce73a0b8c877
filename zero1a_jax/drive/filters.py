"""Smoothing and resampling of motions."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from zero1a_jax.errors import Refused
from zero1a_jax.types import Camera, FlameParams, Motion

_ROTATIONS = ("rotation", "neck", "jaw", "eyes")


def moving_average(motion: Motion, width: int) -> Motion:
    """Averages each coefficient over `width` frames, centred; windows shrink at the ends.

    Axis-angle vectors are averaged as they are, which is good for turns well below half a circle. Cameras
    and fps stay.

    Raises:
      ValueError: `width` is not an odd number from 1 (an even one would shift time by half a frame).
    """
    if width < 1 or width % 2 == 0:
        raise Refused(f"width is {width}; give an odd number of frames, such as 3 or 5")
    length = len(np.asarray(motion.flame.jaw))
    first = np.clip(np.arange(length) - width // 2, 0, length)
    last = np.clip(np.arange(length) + width // 2 + 1, 0, length)

    def smooth(values):
        values = np.asarray(values)
        total = np.concatenate([np.zeros_like(values[:1], np.float64), np.cumsum(values, 0, np.float64)])
        count = (last - first).reshape(-1, *[1] * (values.ndim - 1))
        return ((total[last] - total[first]) / count).astype(values.dtype)

    return dataclasses.replace(motion, flame=jax.tree.map(smooth, motion.flame))


def resample(motion: Motion, fps: float) -> Motion:
    """The same motion at `fps` frames a second: coefficients linear, rotations along the shortest arc.

    The first frame stays; the last new frame is the last that does not pass the old end.

    Raises:
      ValueError: `fps` is not above 0.
    """
    if not fps > 0:
        raise Refused(f"fps is {fps}; give a number above 0")
    length = len(np.asarray(motion.flame.jaw))
    end = (length - 1) / motion.fps
    times = np.arange(int(np.floor(end * fps + 1e-6)) + 1) / fps
    where = np.clip(times * motion.fps, 0, length - 1)
    flame = {}
    for name, values in vars(motion.flame).items():
        turn = name in _ROTATIONS
        flame[name] = (_turn if turn else _blend)(np.asarray(values), where).astype(np.asarray(values).dtype)
    camera = None if motion.camera is None else _camera(motion.camera, where)
    return dataclasses.replace(motion, flame=FlameParams(**flame), camera=camera, fps=float(fps))


def _blend(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    low = np.floor(where).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    weight = (where - low).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] * (1 - weight) + values[high] * weight


def _turn(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Axis-angle [T, ..., 3] at fractional frames, by spherical interpolation."""
    if len(values) == 1:
        return np.repeat(values, len(where), axis=0)
    flat = values.reshape(len(values), -1, 3)
    frames = np.arange(len(flat))
    turned = [Slerp(frames, Rotation.from_rotvec(part))(where) for part in flat.swapaxes(0, 1)]
    out = np.stack([rotation.as_rotvec() for rotation in turned], axis=1)
    return out.reshape(len(where), *values.shape[1:])


def _camera(camera: Camera, where: np.ndarray) -> Camera:
    """Cameras at fractional frames: orientation by arc, position and intrinsics linear."""
    matrix = np.asarray(camera.world_to_camera, np.float64)
    rotation = Rotation.from_matrix(matrix[:, :3, :3])
    position = -np.einsum("tji,tj->ti", matrix[:, :3, :3], matrix[:, :3, 3])
    turned = Rotation.from_rotvec(_turn(rotation.as_rotvec(), where)).as_matrix()
    out = np.tile(np.eye(4), (len(where), 1, 1))
    out[:, :3, :3] = turned
    out[:, :3, 3] = -np.einsum("tij,tj->ti", turned, _blend(position, where))
    return dataclasses.replace(
        camera,
        world_to_camera=out.astype(np.float32),
        focal=_blend(np.asarray(camera.focal), where).astype(np.float32),
        center=_blend(np.asarray(camera.center), where).astype(np.float32),
    )
