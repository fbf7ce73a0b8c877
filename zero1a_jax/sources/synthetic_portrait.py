"""Pictures of people who do not exist, for runs without a picture: --image=synthetic:SEED."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import synthetic
from zero1a_jax.flame import forward, frame_target, landmarks_mediapipe, procedural_head
from zero1a_jax.geometry import portrait_camera, project, resize
from zero1a_jax.image import ops
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams, Portrait

SIZE = 512
BACKDROP = (0.62, 0.68, 0.72)  # sRGB, a studio's grey: the portrait's background has to be removed too


def picture(seed: int, *, size: int = SIZE) -> np.ndarray:
    """A portrait, uint8 [size, size, 3], of the person that `seed` makes: near frontal, mild expression.

    Only these pixels reach a run: no shape, no camera, no landmarks.
    """
    rgb, alpha, _, _ = jax.jit(scene, static_argnames="size")(
        procedural_head(), jax.random.key(seed), size=size
    )
    image = ops.composite(rgb, alpha, jnp.array(BACKDROP))
    return np.rint(np.clip(np.asarray(image), 0, 1) * 255).astype(np.uint8)


def person(seed: int) -> tuple[Array, synthetic.Look]:
    """(shape [S], look) of the person that `picture(seed)` shows."""
    return jax.jit(synthetic.identity)(jax.random.split(jax.random.key(seed), 3)[0])


def scene(model: FlameModel, key: jax.Array, *, size: int) -> tuple[Array, Array, FlameParams, Camera]:
    """What `picture` shows: rgb [size, size, 3], alpha [size, size], the head's parameters and the camera."""
    keys = jax.random.split(key, 3)
    shape, look = synthetic.identity(keys[0])
    reach = jnp.radians(jnp.array([12.0, 5.0]))
    yaw, pitch = reach * jax.random.uniform(keys[1], (2,), minval=-1.0, maxval=1.0)
    motion = synthetic.motions.sequence(keys[2], model, 8, intensity=0.3)
    params = jax.tree.map(lambda leaf: leaf[0], motion).replace(shape=shape)
    camera = portrait_camera(frame_target(model, shape), yaw, pitch, size)
    rgb, alpha = synthetic.render(model, look, params, camera)
    return rgb, alpha, params, camera


def true_portrait(seed: int, *, size: int, background: Array) -> Portrait:
    """`picture(seed)` with its own head, camera and matte, [size, size], over `background` [3].

    What a fit and a matte without any error would give.
    """
    model = procedural_head()
    rgb, alpha, params, camera = jax.jit(scene, static_argnames="size")(
        model, jax.random.key(seed), size=SIZE
    )
    covered = ops.resize(jnp.concatenate([rgb * alpha[..., None], alpha[..., None]], -1), size, size)
    camera = resize(camera, size, size)
    points = landmarks_mediapipe(model, forward(model, params)[0])
    return Portrait(
        rgb=jnp.clip(covered[..., :3] + (1.0 - covered[..., 3:]) * jnp.asarray(background), 0.0, 1.0),
        alpha=jnp.clip(covered[..., 3], 0.0, 1.0),
        landmarks=project(camera, points)[0],
        camera=camera,
        flame=params,
    )
