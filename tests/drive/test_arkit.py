"""ARKit's shapes on heads of another basis: their landmarks move as the named head's do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import drive
from zero1a_jax.drive import arkit
from zero1a_jax.flame import forward, landmarks_mediapipe, procedural_head, zero_params

SHAPES = ("mouthSmileLeft", "eyeBlinkRight", "browInnerUp", "mouthPucker", "cheekPuff", "noseSneerLeft")


@pytest.fixture(scope="module")
def head():
    return procedural_head()


def moves(model, values):
    """Landmarks [K, 105, 3] of expressions [K, E] and jaws [K, 3], less those at rest."""
    jaw, expression = values[:, -3:], values[:, :-3]
    rest = zero_params(model, (len(values) + 1,))
    pad = np.zeros((1, values.shape[1]), np.float32)
    params = rest.replace(
        expression=jnp.asarray(np.concatenate([pad[:, :-3], expression])),
        jaw=jnp.asarray(np.concatenate([pad[:, -3:], jaw])),
    )
    points = np.asarray(landmarks_mediapipe(model, jax.jit(forward)(model, params)[0]))
    return points[1:] - points[:1]


def named(model, names):
    values = np.zeros((len(names), len(model.expression_names) + 3), np.float32)
    for row, name in enumerate(names):
        values[row, model.expression_names.index(name)] = 1.0
    return values


def test_another_basis_and_another_size(head):
    """A larger head with the same shapes, mixed and without names, as FLAME's are."""
    count = head.expression_basis.shape[2]
    mix = np.linalg.qr(np.random.default_rng(0).normal(size=(count, count)))[0] * 0.5
    other = head.replace(
        template=1.2 * head.template, expression_basis=(1.2 * head.expression_basis @ mix).astype(np.float32),
        pose_basis=1.2 * head.pose_basis, expression_names=(), version="other",
    )  # fmt: skip
    matrix = drive.arkit_matrix(SHAPES, head, other)
    assert matrix.shape == (6, count + 3) and matrix.dtype == np.float32
    wanted, found = 1.2 * moves(head, named(head, SHAPES)), moves(other, matrix)
    for one, other_ in zip(wanted, found, strict=True):
        assert np.linalg.norm(one - other_) < 0.05 * np.linalg.norm(one)


def test_jaw_opens_where_no_shape_does(head):
    still = head.replace(
        expression_basis=np.zeros_like(head.expression_basis[..., :1]), expression_names=(), version="stiff"
    )
    matrix = drive.arkit_matrix(["jawOpen", "JAWLEFT", "tongueOut2"], head, still)
    assert 0.1 < matrix[0, 1] < 0.6 and abs(matrix[0, 2:]).max() < 0.05
    assert abs(matrix[1, 1:]).max() > 0.02 and not matrix[2].any()
    wanted, found = moves(head, named(head, ["jawOpen"])), moves(still, matrix[:1])
    assert np.linalg.norm(wanted - found) < 0.5 * np.linalg.norm(wanted)


@pytest.mark.parity
def test_the_jaws_derivative(reference_model):
    """Against the forward pass of a head with skinning and correctives of every joint."""
    with jax.enable_x64(True):
        model = reference_model(10, np.float64)
        rest = zero_params(model)
        truth = jax.jit(jax.jacfwd(lambda jaw: forward(model, rest.replace(jaw=jaw))[0]))(np.zeros(3))
    np.testing.assert_allclose(arkit._jaw_moves(model), truth, atol=1e-9)


def test_it_drives_a_recording(head, tmp_path):
    nameless = head.replace(expression_names=(), version="other")
    (tmp_path / "a.csv").write_text(
        "Timecode,JawOpen,MouthSmileLeft\n00:00:00:00.0,0.5,0\n00:00:00:01.0,0,1\n"
    )
    recording = drive.read_livelink(tmp_path / "a.csv")
    matrix = drive.arkit_matrix(recording.names, head, nameless)
    motion = drive.livelink_motion(recording, nameless, matrix=matrix)
    np.testing.assert_allclose(motion.flame.expression[0], 0.5 * matrix[0, :-3], rtol=1e-6)
    np.testing.assert_allclose(motion.flame.jaw, [0.5 * matrix[0, -3:], matrix[1, -3:]], rtol=1e-6)


def test_heads_that_cannot_be_compared(head):
    with pytest.raises(ValueError, match="none of"):
        drive.arkit_matrix(["smirk"], head, head)
    with pytest.raises(ValueError, match="landmark embedding"):
        drive.arkit_matrix(["jawOpen"], head, head.replace(mediapipe_indices=None))
    with pytest.raises(ValueError, match="too few"):
        drive.arkit_matrix(["jawOpen"], head, head.replace(mediapipe_indices=head.mediapipe_indices + 1000))
