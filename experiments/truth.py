"""Synthetic people seen from held-out views, and how far an avatar is from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import heldout, playback
from zero1a_jax import flame as flame_room
from zero1a_jax import synthetic
from zero1a_jax.geometry import portrait_camera, project
from zero1a_jax.image import losses, ops
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

EYE_CORNERS = (36, 45)  # iBUG's outer corners of the eyes


def person(seed: int) -> tuple[Array, Any]:
    """(shape [S], look) of the person that `experiments.run --image=synthetic:SEED` shows."""
    return jax.jit(synthetic.identity)(jax.random.split(jax.random.key(seed), 3)[0])


def compare(
    loaded: playback.Loaded, seed: int, chosen: Sequence[int], *, size: int, supersample: int
) -> Iterator[dict[str, Any]]:
    """Measures the held-out pairs with indices `chosen`, one dictionary each, as they are done.

    psnr (dB) and ssim are means over the pixels that the true head covers, over white. landmark_error is the
    mean distance of the 68 projected mesh landmarks, in units of the true distance between the outer
    corners of the eyes seen from the front.
    """
    model, avatar = loaded.model, loaded.avatar
    shape, look = person(seed)
    pairs = heldout.pairs(model, max(chosen) + 1)
    index = np.asarray(chosen)
    flame = jax.tree.map(lambda x: x[index], pairs.flame)
    yaw, pitch = pairs.yaw[index], pairs.pitch[index]
    true_cameras, own_cameras = (
        portrait_camera(flame_room.frame_target(model, s), np.radians(yaw), np.radians(pitch), size)
        for s in (shape, jnp.asarray(avatar.shape))
    )
    true_points = _landmarks(model, flame, shape, true_cameras)
    own_points = _landmarks(model, flame, jnp.asarray(avatar.shape), own_cameras)
    errors = np.linalg.norm(own_points - true_points, axis=-1).mean(-1) / _between_eyes(model, shape, size)
    rendered = playback.render(avatar, model, flame, own_cameras, background=np.ones(3))
    draw = jax.jit(synthetic.render, static_argnames="supersample")
    for row, (k, (image, _)) in enumerate(zip(chosen, rendered, strict=True)):
        pose = jax.tree.map(lambda x, r=row: jnp.asarray(x)[r], (flame, true_cameras))
        posed = _with_shape(pose[0], shape)
        rgb, alpha = draw(model, look, posed, pose[1], supersample=supersample)
        target, mask = ops.composite(rgb, alpha, jnp.ones(3)), alpha > 0.5
        yield {
            "pair": int(k),
            "yaw": round(float(yaw[row]), 3),
            "pitch": round(float(pitch[row]), 3),
            "psnr": float(ops.psnr(image, target, mask)),
            "ssim": float(losses.ssim(image, target, mask)),
            "landmark_error": float(errors[row]),
        }


def _with_shape(flame: FlameParams, shape: Array) -> FlameParams:
    lead = np.shape(flame.jaw)[:-1]
    return dataclasses.replace(flame, shape=jnp.broadcast_to(jnp.asarray(shape), (*lead, len(shape))))


def _landmarks(model: FlameModel, flame: FlameParams, shape: Array, cameras: Camera) -> np.ndarray:
    """The 68 landmarks in pixels, [K, 68, 2]."""
    return np.asarray(_projected(model, _with_shape(flame, shape), cameras))


@jax.jit
def _projected(model: FlameModel, params: FlameParams, cameras: Camera) -> Array:
    vertices, _ = flame_room.forward(model, params)
    return project(cameras, flame_room.landmarks68(model, vertices, params))[0]


def _between_eyes(model: FlameModel, shape: Array, size: int) -> float:
    """Pixels between the outer eye corners of the neutral head from the front."""
    front = portrait_camera(flame_room.frame_target(model, shape), np.zeros(1), np.zeros(1), size)
    points = _landmarks(model, flame_room.zero_params(model, (1,)), shape, front)[0]
    return float(np.linalg.norm(points[EYE_CORNERS[0]] - points[EYE_CORNERS[1]]))
