"""Files of other trackers: the same face whatever its names and rotations are called."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zero1a_jax.converters import trackers

JAW, EYES = np.array([0.2, 0.01, -0.02]), np.array([[0.1, 0.05, 0.0], [0.1, 0.04, 0.0]])


def rows(turns):
    """First two rows of each rotation matrix, in one row."""
    return Rotation.from_rotvec(turns).as_matrix().reshape(-1, 9)[:, :6].reshape(1, -1)


@pytest.fixture
def model(reference_model):
    return reference_model(300)


@pytest.mark.parametrize("kind", ["vhap", "smirk", "pixel3dmm", "deca"])
def test_each_tracker_gives_the_same_face(model, tmp_path, kind):
    rng = np.random.default_rng(0)
    shape, expression = rng.normal(size=400), rng.normal(size=(1, 50))
    layout = {
        "vhap": dict(
            shape=shape,
            expr=expression,
            jaw_pose=JAW[None],
            eyes_pose=EYES.reshape(1, 6),
            rotation=np.ones((1, 3)),
            neck_pose=np.ones((1, 3)),
            translation=np.ones((1, 3)),
        ),
        "smirk": dict(
            shape_params=shape[None],
            expression_params=expression,
            jaw_params=JAW[None],
            eyelid_params=np.ones((1, 2)),
            pose_params=np.ones((1, 3)),
            cam=np.ones((1, 3)),
        ),
        "pixel3dmm": dict(
            shape=shape[None],
            exp=expression,
            jaw=rows(JAW[None]),
            eyes=rows(EYES),
            neck=rows(JAW[None]),
            R=rows(JAW[None]),
        ),
        "deca": dict(shape=shape, exp=expression[0], pose=np.array([1.0, 1, 1, *JAW]), cam=np.ones(3)),
    }[kind]
    np.savez(tmp_path / "tracker.npz", **layout)
    face = trackers.load(tmp_path / "tracker.npz", model)
    np.testing.assert_allclose(face.shape, shape[:300], atol=1e-6)
    assert face.expression.shape == (100,) and not face.expression[50:].any()
    np.testing.assert_allclose(face.expression[:50], expression[0], atol=1e-6)
    np.testing.assert_allclose(face.jaw, JAW, atol=1e-6)
    np.testing.assert_allclose(face.eyes, EYES * (kind not in ("smirk", "deca")), atol=1e-6)
    assert not face.rotation.any() and not face.neck.any() and not face.translation.any()


def test_what_is_no_single_face_is_refused(model, tmp_path):
    good = dict(shape=np.zeros(300), exp=np.zeros((1, 100)), jaw=np.zeros((1, 3)))
    for changes, sentence in (
        ({"jaw": np.zeros((4, 3))}, "one frame"),
        ({"jaw": np.zeros(4)}, "4 numbers"),
        ({"jaw": np.zeros(6)}, "no rotations"),
        ({"exp": np.full(3, np.inf)}, "not finite"),
        ({"shape": np.array(["a"])}, "not finite"),
        ({"flame_version": np.str_("flame2020")}, "give the right --flame"),
    ):
        np.savez(tmp_path / "a.npz", **(good | changes))
        with pytest.raises(ValueError, match=sentence):
            trackers.load(tmp_path / "a.npz", model)
    np.savez(tmp_path / "a.npz", shape=np.zeros(3))
    with pytest.raises(ValueError, match="no known tracker"):
        trackers.load(tmp_path / "a.npz", model)
    with pytest.raises(FileNotFoundError):
        trackers.load(tmp_path / "none.npz", model)
