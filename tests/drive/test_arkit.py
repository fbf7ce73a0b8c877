"""ARKit's shapes on heads of another basis: their landmarks move as the named head's do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import drive
from zero1a_jax.converters import livelink
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


def rows(found):
    """A map as [K, E + 3]: coefficients and jaw."""
    return np.concatenate([found.expression, found.jaw], 1)


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
        template=1.2 * head.template,
        expression_basis=(1.2 * head.expression_basis @ mix).astype(np.float32),
        pose_basis=1.2 * head.pose_basis,
        expression_names=(),
        version="other",
    )
    matrix = rows(drive.arkit_map(SHAPES, head, other))
    assert matrix.shape == (6, count + 3) and matrix.dtype == np.float32
    wanted, found = 1.2 * moves(head, named(head, SHAPES)), moves(other, matrix)
    for one, other_ in zip(wanted, found, strict=True):
        assert np.linalg.norm(one - other_) < 0.05 * np.linalg.norm(one)


def test_jaw_opens_where_no_shape_does(head):
    still = head.replace(
        expression_basis=np.zeros_like(head.expression_basis[..., :1]), expression_names=(), version="stiff"
    )
    matrix = rows(drive.arkit_map(["jawOpen", "JAWLEFT", "tongueOut2"], head, still))
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
    recording = livelink.load(tmp_path / "a.csv")
    arkit = drive.arkit_map(recording.names, head, nameless)
    motion = drive.livelink_motion(recording, nameless, arkit=arkit)
    np.testing.assert_allclose(motion.flame.expression[0], 0.5 * arkit.expression[0], rtol=1e-6)
    np.testing.assert_allclose(motion.flame.jaw, [0.5 * arkit.jaw[0], arkit.jaw[1]], rtol=1e-6)


def test_offsets_of_the_heads_own_vertices(head):
    """A table of offsets, as LAM's, gives the shapes back; eyes turn, and vertices behind stay out."""
    free = [k for k, name in enumerate(head.expression_names) if not name.startswith(("jaw", "tongue"))]
    mix = np.linalg.qr(np.random.default_rng(0).normal(size=(len(free), len(free))))[0]
    other = head.replace(
        expression_basis=(head.expression_basis[..., free] @ mix).astype(np.float32), expression_names=()
    )
    names = ("mouthSmileLeft", "jawOpen", "eyeLookUpLeft", "eyeLookInRight")
    columns = [head.expression_names.index(name) for name in names]
    deltas = np.moveaxis(np.asarray(head.expression_basis)[..., columns], -1, 0)
    found = drive.arkit_from_deltas(names, deltas[:, :-10], other)
    wanted, smile = moves(head, named(head, names)), moves(other, rows(found)[:1])
    assert np.linalg.norm(smile[0] - wanted[0]) < 0.05 * np.linalg.norm(wanted[0])
    assert 0.1 < found.jaw[1, 0] < 0.6 and abs(found.jaw[0]).max() < 0.02
    assert found.eyes[2, 0, 0] < -0.1 and abs(found.eyes[2, 1]).max() < 1e-3  # up: about -x, the left one
    assert found.eyes[3, 1, 1] > 0.1 and abs(found.eyes[3, 0]).max() < 1e-3  # the right one to the left
    np.testing.assert_allclose(drive.arkit_map(names, head, other).eyes, found.eyes, atol=0.02)
    with pytest.raises(ValueError, match="are not those of 3 shapes"):
        drive.arkit_from_deltas(names[:3], deltas, other)


def test_heads_that_cannot_be_compared(head):
    with pytest.raises(ValueError, match="none of"):
        drive.arkit_map(["smirk"], head, head)
    with pytest.raises(ValueError, match="landmark embedding"):
        drive.arkit_map(["jawOpen"], head, head.replace(mediapipe_indices=None))
    with pytest.raises(ValueError, match="too few"):
        drive.arkit_map(["jawOpen"], head, head.replace(mediapipe_indices=head.mediapipe_indices + 1000))
