"""Where teeth go on a head that has none: the lips' rings from its landmarks."""

import numpy as np
import pytest

from zero1a_jax.flame import add_teeth, lip_rings, procedural_head


@pytest.fixture(scope="module")
def head():
    return procedural_head()


def test_rings_follow_the_lips(head):
    upper, lower = lip_rings(head)
    assert upper.shape == lower.shape == (15,)
    rings = head.template[np.stack([upper, lower])]
    assert (
        (np.diff(rings[..., 0], axis=1) <= 1e-6).all() and rings[0, 0, 0] > 0.015 and rings[0, -1, 0] < -0.015
    )
    assert (rings[0, 3:-3, 1] > rings[1, 3:-3, 1] + 0.005).all()
    corners = head.template[head.faces[head.landmark_faces]]
    points = np.einsum("lk,lkc->lc", head.landmark_barycentrics, corners)[31:43]
    away = np.linalg.norm(rings.reshape(-1, 1, 3) - points, axis=-1).min(1)
    assert away.max() < 0.008  # between landmarks, and from there to a vertex


def test_teeth_stand_behind_the_lips_and_face_forward(head):
    model = add_teeth(head, *lip_rings(head))
    count, faces = len(head.template), len(head.faces)
    teeth = model.template[count:]
    lips = head.template[np.concatenate(lip_rings(head))]
    assert teeth[:, 2].max() < lips[:, 2].max() and abs(teeth[:, 0]).max() < abs(lips[:, 0]).max() + 1e-3
    assert lips[:, 1].min() - 0.05 < teeth[:, 1].min() and teeth[:, 1].max() < lips[:, 1].max() + 0.05
    corners = model.template[model.faces[faces : faces + 28]]  # the front of the upper row
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[4:-4, 2] > 0).all()


def test_a_head_without_landmarks(head):
    with pytest.raises(ValueError, match="landmark embedding"):
        lip_rings(head.replace(landmark_faces=None))
