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


def one_euro(
    values: np.ndarray,
    seconds: np.ndarray,
    shots: np.ndarray | None = None,
    *,
    cutoff: float = 1.0,
    beta: float = 0.0,
    derivative_cutoff: float = 1.0,
    both_ways: bool = True,
) -> np.ndarray:
    """The One-Euro filter: smooths much what is slow, where jitter shows, and little what is fast.

    A first-order low-pass whose cutoff is `cutoff` + `beta` * |speed|, the speed low-passed itself. It starts
    anew with each shot. Source: Casiez, Roussel and Vogel, 1 Euro Filter, CHI 2012.

    Args:
      values: [T, K]. seconds: [T] increasing. shots: [T] int, which shot a row belongs to; None for one.
      cutoff: Hz at rest. beta: Hz per unit a second. derivative_cutoff: Hz for the speed.
      both_ways: the mean of the filter forward and backward in time, which lags behind nothing; it takes the
        whole recording. False is the causal filter.
    """
    values, seconds = np.asarray(values, np.float64), np.asarray(seconds, np.float64)
    shots = np.zeros(len(values), int) if shots is None else np.asarray(shots)
    bounds = [0, *(np.nonzero(np.diff(shots))[0] + 1), len(values)]
    out = np.zeros_like(values)
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        part, times = values[first:last], seconds[first:last]
        for sign in (1, -1) if both_ways else (1,):
            smooth = OneEuro(cutoff, beta, derivative_cutoff)
            rows = zip(sign * times[::sign], part[::sign], strict=True)
            out[first:last] += np.stack([smooth(*row) for row in rows])[::sign]
    return 0.5 * out if both_ways else out


class OneEuro:
    """The causal `one_euro` for one row after the other."""

    def __init__(self, cutoff: float, beta: float, derivative_cutoff: float = 1.0):
        """As `one_euro`."""
        self._cutoff, self._beta, self._derivative_cutoff = cutoff, beta, derivative_cutoff
        self.restart()

    def restart(self) -> None:
        """The next row starts anew."""
        self._last: tuple[float, np.ndarray, np.ndarray] | None = None

    def __call__(self, seconds: float, values: np.ndarray) -> np.ndarray:
        """The filtered row [K]; `seconds` increase."""
        values = np.asarray(values, np.float64)
        if self._last is None:
            self._last = (seconds, values, np.zeros(len(values)))
            return values
        before, out, speed = self._last
        step = seconds - before
        speed = speed + _share(self._derivative_cutoff, step) * ((values - out) / step - speed)
        out = out + _share(self._cutoff + self._beta * np.abs(speed), step) * (values - out)
        self._last = (seconds, out, speed)
        return out


def _share(cutoff: float | np.ndarray, step: float) -> float | np.ndarray:
    """Of the difference, that a low-pass takes over in `step` seconds."""
    turns = 2 * np.pi * cutoff * step
    return turns / (turns + 1)


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
