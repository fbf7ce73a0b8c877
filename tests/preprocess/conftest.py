"""A synthetic face whose every point is known, without rendering it."""

import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import flame, geometry
from zero1a_jax.flame import procedural_head
from zero1a_jax.image.landmarks import OUTLINE
from zero1a_jax.preprocess.detect import Detection
from zero1a_jax.preprocess.fit_landmarks import FLIP
from zero1a_jax.preprocess.landmark_net import IRISES
from zero1a_jax.preprocess.subset import IRISES as IRIS_ROWS
from zero1a_jax.preprocess.subset import landmark_subset

SHAPES = ("jawOpen", "mouthSmileLeft", "browInnerUp", "eyeBlinkRight", "mouthPucker")


@pytest.fixture(scope="session")
def head():
    return procedural_head()


@pytest.fixture(scope="session")
def truth(head):
    """Makes (params, camera, exact Detection) of a random head: truth(seed, yaw, size=256)."""
    reduced = landmark_subset(head)

    def make(seed, yaw, size=256, spread=0.0005):
        rng = np.random.default_rng(seed)
        names = head.expression_names
        expression = np.zeros(len(names), np.float32)
        for name in rng.choice(SHAPES, 2):
            expression[names.index(name)] = rng.uniform(0.4, 0.9)
        params = flame.zero_params(head).replace(
            shape=jnp.asarray(rng.normal(size=head.shape_basis.shape[-1]) * 0.7, jnp.float32),
            expression=jnp.asarray(expression),
            eyes=jnp.asarray(np.tile([0.05, 0.15, 0.0], (2, 1)), jnp.float32),
        )
        camera = geometry.portrait_camera(flame.frame_target(head, params.shape), yaw, 0.1, size)
        vertices, _ = flame.forward(reduced, params)
        marks = flame.landmarks_mediapipe(reduced, vertices)
        outline = flame.landmarks_drawn(reduced, vertices, params, camera=camera)[-27:]
        points, _ = geometry.project(camera, jnp.concatenate([marks, outline, vertices[np.array(IRIS_ROWS)]]))
        ids = np.concatenate([head.mediapipe_indices, OUTLINE, IRISES])
        rotation = FLIP @ np.asarray(camera.world_to_camera)[:3, :3]
        return params, camera, Detection(np.asarray(points), ids, rotation, 1.0, {}, 1, "truth", spread)

    return make
