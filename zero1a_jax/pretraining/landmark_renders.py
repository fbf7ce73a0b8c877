"""Pictures of random synthetic people with their true landmarks, to train the landmark net on."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import flame, geometry, synthetic
from zero1a_jax.geometry import axis_angle_to_matrix, project
from zero1a_jax.preprocess.landmark_net import FEATURES
from zero1a_jax.preprocess.subset import IRISES, landmark_subset
from zero1a_jax.types import Array, FlameModel

SIZE = 192
MAX_YAW, MAX_PITCH = math.radians(65.0), math.radians(22.0)
TEXTURED = 0.2  # share of people in random colours and patterns
FLIP = np.diag([1.0, -1.0, -1.0]).astype(np.float32)


class Truth(NamedTuple):
    """Renders and what is true of them, *B leading axes."""

    rgba: Array  # [*B, 192, 192, 4] uint8, straight colours
    points: Array  # [*B, 134, 2] pixels, the order of landmark_net.POINTS
    rotation: Array  # [*B, 3, 3], as Detection.rotation


def make_renderer(model: FlameModel) -> Callable[[Array], Truth]:
    """A jitted function of keys [B] that renders B people: yaw within 65 degrees, half of it within 25,
    any expression, cameras between 0.5 and 2 m."""
    model = jax.tree.map(jnp.asarray, model)
    reduced = landmark_subset(model)
    order = np.argsort(np.asarray(model.mediapipe_indices))
    if tuple(np.asarray(model.mediapipe_indices)[order]) != FEATURES:
        raise ValueError("The landmark net is trained on a head with FLAME's 105 MediaPipe points.")

    def scene(key: Array) -> tuple:
        keys = jax.random.split(key, 8)
        plain, odd = synthetic.identity(keys[0]), synthetic.textured(keys[0])
        pick = jax.random.uniform(keys[1]) < TEXTURED
        shape, look = jax.tree.map(lambda a, b: jnp.where(pick, b, a), plain, odd)
        params = synthetic.motions.random_expression(keys[2], model).replace(shape=shape)
        wide = jax.random.uniform(keys[3], minval=-1.0, maxval=1.0) * MAX_YAW
        yaw = jnp.where(jax.random.uniform(keys[4]) < 0.5, wide, 0.38 * wide)
        pitch = jnp.clip(jax.random.normal(keys[5]) * 0.5, -1.0, 1.0) * MAX_PITCH
        distance = jnp.exp(jax.random.uniform(keys[6], minval=math.log(0.5), maxval=math.log(2.0)))
        target = flame.frame_target(model, shape)
        camera = geometry.portrait_camera(target, yaw, pitch, SIZE)
        matrix = geometry.orbit(target, yaw, pitch, distance)
        camera = camera.replace(world_to_camera=matrix, focal=camera.focal * distance)
        vertices, _ = flame.forward(reduced, params)
        marks = flame.landmarks_mediapipe(reduced, vertices)[order]
        outline = flame.landmarks_drawn(reduced, vertices, params, camera=camera)[-27:]
        points, _ = project(camera, jnp.concatenate([marks, outline, vertices[np.array(IRISES)]]))
        head = axis_angle_to_matrix(params.rotation) @ axis_angle_to_matrix(params.neck)
        return look, params, camera, points, FLIP @ matrix[:3, :3] @ head

    def render(keys: Array) -> Truth:
        look, params, camera, points, rotation = jax.vmap(scene)(keys)
        rgb, alpha = synthetic.render(model, look, params, camera, supersample=1)
        rgba = jnp.concatenate([rgb, alpha[..., None]], -1)
        return Truth(jnp.round(rgba * 255).astype(jnp.uint8), points, rotation)

    return jax.jit(render)


@functools.cache
def _renderer() -> Callable[[Array], Truth]:
    return make_renderer(flame.procedural_head())


def render_set(seed: int, first: int, count: int, batch: int = 16) -> Truth:
    """Renders `first` to `first + count` of a seed's endless set, on the host."""
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(first + jnp.arange(count))
    parts = []
    for start in range(0, count, batch):
        index = np.minimum(np.arange(start, start + batch), count - 1)  # one program for the last batch too
        parts.append(jax.tree.map(np.asarray, _renderer()(keys[index])))
    return Truth(*(np.concatenate(field)[:count] for field in zip(*parts, strict=True)))
