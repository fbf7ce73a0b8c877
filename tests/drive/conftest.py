"""A head of a few vertices, enough to size coefficients by."""

import numpy as np
import pytest

from zero1a_jax.types import FlameModel


def tiny(names=("eyeBlinkLeft", "jawOpen", "mouthSmileLeft", "unknownShape"), version="tiny", shapes=5):
    """A FlameModel whose expressions have `names`; the geometry means nothing."""
    expressions = len(names) or 6
    none = dict.fromkeys(
        (
            "landmark_faces landmark_barycentrics contour_faces contour_barycentrics mediapipe_faces "
            "mediapipe_barycentrics mediapipe_indices masks uv uv_faces"
        ).split()
    )
    return FlameModel(
        template=np.zeros((3, 3), np.float32),
        shape_basis=np.zeros((3, 3, shapes), np.float32),
        expression_basis=np.zeros((3, 3, expressions), np.float32),
        pose_basis=np.zeros((3, 3, 36), np.float32),
        joint_regressor=np.zeros((5, 3), np.float32),
        skinning=np.ones((3, 5), np.float32) / 5,
        faces=np.array([[0, 1, 2]]),
        parents=(-1, 0, 1, 1, 1),
        expression_names=tuple(names),
        version=version,
        **none,
    )


@pytest.fixture(name="tiny")
def tiny_fixture():
    return tiny
