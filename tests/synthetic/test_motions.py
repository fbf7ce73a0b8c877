import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.flame.procedural import procedural_head
from zero1a_jax.synthetic import motions

FRAMES = 200


@pytest.fixture(scope="module")
def play():
    model = procedural_head()
    return jax.jit(lambda key, power: motions.sequence(key, model, FRAMES, intensity=power))


def columns(name):
    return [procedural_head().expression_names.index(name + side) for side in ("Left", "Right")]


def test_shapes_ranges_and_rest(play):
    params = play(jax.random.key(0), 1.0)
    assert params.expression.shape == (FRAMES, len(procedural_head().expression_names))
    assert params.eyes.shape == (FRAMES, 2, 3) and params.jaw.shape == (FRAMES, 3)
    assert float(params.expression.min()) >= 0 and float(params.expression.max()) <= 1.2
    assert not params.shape.any() and not params.translation.any()
    assert float(jnp.abs(params.neck).max()) < 0.3


def test_moves_smoothly_and_in_many_ways(play):
    sequences = [play(jax.random.key(seed), 1.0) for seed in range(4)]
    blink = columns("eyeBlink")
    for params in sequences:
        steps = np.abs(np.diff(np.asarray(params.expression), axis=0))
        assert np.delete(steps, blink, 1).max() < 0.35  # a blink may be quick, nothing else
        assert np.abs(np.diff(np.asarray(params.jaw)[:, 0])).max() < 0.16
    used = np.max([np.asarray(params.expression).max(0) for params in sequences], 0)
    assert (used > 0.3).sum() > 15


def test_blinks_close_both_eyes_now_and_then(play):
    closed = np.asarray(play(jax.random.key(3), 1.0).expression)[:, columns("eyeBlink")]
    assert (closed.max(0) >= 0.99).all()
    assert 0.01 < (closed > 0.8).mean() < 0.25


def test_zero_intensity_only_blinks_and_more_moves_more(play):
    def moved(power):
        expression = np.asarray(play(jax.random.key(5), power).expression)
        return np.delete(expression, columns("eyeBlink"), 1)

    still = play(jax.random.key(5), 0.0)
    assert moved(0.0).max() == 0 and not still.jaw.any()
    assert moved(0.4).mean() < moved(1.0).mean() < moved(1.5).mean()


def test_same_key_same_motion(play):
    again = jax.tree.map(np.array_equal, play(jax.random.key(7), 1.0), play(jax.random.key(7), 1.0))
    assert all(jax.tree.leaves(again))
    other = play(jax.random.key(8), 1.0)
    assert not np.array_equal(other.expression, play(jax.random.key(7), 1.0).expression)


def test_random_expressions_reach_every_shape():
    model = procedural_head()
    keys = jax.random.split(jax.random.key(0), 400)
    params = jax.jit(jax.vmap(lambda key: motions.random_expression(key, model, 1.0)))(keys)
    expression = np.asarray(params.expression)
    assert expression.min() >= 0 and expression.max() <= 1.2
    assert (expression.max(0) > 0.25).all()
    both = expression[:, columns("mouthSmile")]
    assert np.corrcoef(both.T)[0, 1] > 0.4  # mostly symmetric
    assert np.asarray(params.jaw)[:, 0].max() > 0.25


def test_a_model_without_names_says_so():
    with pytest.raises(ValueError, match="eyeBlink"):
        motions.sequence(jax.random.key(0), procedural_head().replace(expression_names=()), 10)
