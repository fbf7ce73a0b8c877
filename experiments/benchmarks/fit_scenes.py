"""Pictures of random synthetic people at given yaws, with everything that a fit should find in them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import fit_cases
from zero1a_jax import flame, geometry, synthetic
from zero1a_jax.flame import procedural_head
from zero1a_jax.flame.head_rig import JAW_ANGLE
from zero1a_jax.image import ops
from zero1a_jax.image.landmarks import OUTER_EYE_CORNERS, OUTLINE
from zero1a_jax.preprocess.detect import Detection
from zero1a_jax.preprocess.fit_landmarks import FLIP, IRIS_IDS
from zero1a_jax.preprocess.subset import IRISES, landmark_subset
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

SIZE = 384
MAX_PITCH = math.radians(12.0)
EXACT = 0.0001  # metres: the spread that exact points are given
SLACK = 0.003  # metres behind the z-buffer at which a point still counts as seen


class Scene(NamedTuple):
    """One person from one side. Pixels are the picture's."""

    picture: np.ndarray  # [SIZE, SIZE, 3] uint8
    params: FlameParams  # neck and root at rest, jaw opened by jawOpen alone
    camera: Camera
    points: np.ndarray  # [105, 2] the order of the head's embedding
    visible: np.ndarray  # [105] bool: by the head's own z-buffer and whatever is before the face
    interocular: float  # pixels between the outer eye corners, as if it faced the camera
    exact: Detection  # true points, outline and irises


def scene(seed: int, yaw: float, case: str = "plain") -> Scene:
    """The person `seed` (the same at every yaw) with a random expression and light, `yaw` in radians.

    `case`, one of `fit_cases.CASES`, sets some of the expression or puts something before the face.
    """
    forced = fit_cases.forced_expression(procedural_head(), case)
    made = _program()(jax.random.key(seed), jnp.float32(yaw), forced)
    rgb, params, camera, points, seen, interocular = jax.tree.map(np.asarray, made)
    count = len(seen)
    ids = np.concatenate([np.asarray(procedural_head().mediapipe_indices), OUTLINE, IRIS_IDS])
    rotation = FLIP @ camera.world_to_camera[:3, :3]
    exact = Detection(points, ids, rotation, 1.0, {}, 1, "truth", EXACT)
    picture, hidden = fit_cases.draw(
        case, np.round(rgb * 255).astype(np.uint8), fit_cases.needed(points, ids), float(interocular), seed
    )
    column, row = np.clip(points[:count].astype(int), 0, SIZE - 1).T
    return Scene(
        picture, params, camera, points[:count], seen & ~hidden[row, column], float(interocular), exact
    )


@functools.cache
def _program() -> Callable[[Array, Array, Array], tuple]:
    return jax.jit(functools.partial(_scene, procedural_head()))


def _scene(model: FlameModel, key: Array, yaw: Array, forced: Array) -> tuple:
    keys = jax.random.split(key, 5)
    shape, look = synthetic.identity(keys[0])
    params = synthetic.motions.random_expression(keys[1], model).replace(shape=shape)
    # One way to open the mouth, that which the fit uses, so that its weight can be compared.
    jaw = model.expression_names.index("jawOpen")
    opened = jnp.minimum(params.expression[jaw] + params.jaw[0] / JAW_ANGLE, 1.0)
    expression = params.expression.at[jaw].set(opened)
    expression = jnp.where(jnp.isnan(forced), expression, forced)
    params = params.replace(expression=expression, jaw=jnp.zeros(3), neck=jnp.zeros(3))
    pitch = MAX_PITCH * jax.random.uniform(keys[2], minval=-1.0, maxval=1.0)
    camera = geometry.portrait_camera(flame.frame_target(model, shape), yaw, pitch, SIZE)
    rgb, alpha = synthetic.render(model, look, params, camera)
    picture = ops.composite(rgb, alpha, _backdrop(keys[3]))

    reduced = landmark_subset(model)
    few, _ = flame.forward(reduced, params)
    marks = flame.landmarks_mediapipe(reduced, few)
    outline = flame.landmarks_drawn(reduced, few, params, camera=camera)[-len(OUTLINE) :]
    points = jnp.concatenate([marks, outline, few[jnp.array(IRISES)]])
    pixels, depth = geometry.project(camera, points)

    vertices, _ = flame.forward(model, params)
    mesh = geometry.project(camera, vertices)
    _, _, front = geometry.zbuffer(*mesh, jnp.asarray(model.faces), SIZE, SIZE)
    place = jnp.clip(pixels[: len(marks)].astype(jnp.int32), 0, SIZE - 1)
    seen = depth[: len(marks)] < front[place[:, 1], place[:, 0]] + SLACK
    left, right = (int(np.argmax(np.asarray(model.mediapipe_indices) == i)) for i in OUTER_EYE_CORNERS)
    apart = jnp.linalg.norm(marks[left] - marks[right]) * camera.focal[0]
    return picture, params, camera, pixels, seen, apart


def _backdrop(key: Array) -> Array:
    """A room's wall [SIZE, SIZE, 3]: one dull random colour, a little graded and uneven."""
    keys = jax.random.split(key, 4)
    colour = jax.random.uniform(keys[0], minval=0.2, maxval=0.85)
    colour = colour + 0.08 * jax.random.normal(keys[1], (3,))
    slope = 0.05 * jax.random.normal(keys[2], (2, 1, 1, 1))
    line = jnp.linspace(-1.0, 1.0, SIZE)
    graded = colour + line[:, None, None] * slope[0] + line[None, :, None] * slope[1]
    coarse = jax.random.uniform(keys[3], (7, 7, 1), minval=-0.03, maxval=0.03)
    return jnp.clip(graded + jax.image.resize(coarse, (SIZE, SIZE, 1), "cubic"), 0.0, 1.0)
