"""The portrait carried over to other views: exact at its own, silent where it saw nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import symgen
from zero1a_jax.flame import frame_target
from zero1a_jax.geometry import portrait_camera

YAWS = (0.0, 35.0, 180.0)


@pytest.fixture(scope="module")
def carried(fakes):
    """The disc's colours on the sphere, seen from YAWS: rgb and trust, and the portrait."""
    model = fakes.sphere_head(rings=12, sides=24)
    portrait = fakes.disc_portrait(model)
    count = len(YAWS)
    target = frame_target(model, jnp.zeros(4))
    camera = portrait_camera(target, jnp.radians(jnp.array(YAWS)), jnp.zeros(count), fakes.SIZE)
    flame = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), portrait.flame)
    seen = symgen.seen_by(portrait, model)
    rgb, trust = jax.jit(symgen.carry_over)(seen, model, flame, camera)
    return np.asarray(rgb), np.asarray(trust), portrait


def test_its_own_view_is_the_portrait(carried):
    rgb, trust, portrait = carried
    sure = trust[0] > 0.9
    assert 0.05 < sure.mean() < 0.5
    # The surface is sampled at pixel centres: what is carried is the portrait, interpolated.
    np.testing.assert_allclose(rgb[0][sure], np.asarray(portrait.rgb)[sure], atol=0.02)
    assert (trust[0][np.asarray(portrait.alpha) == 0] == 0).all()


def test_a_turned_view_knows_less_and_the_back_nothing(carried):
    _, trust, _ = carried
    front, side, back = trust.sum((1, 2))
    assert 0.2 * front < side < 0.9 * front and back == 0
    columns = np.arange(trust.shape[2])
    middles = [(trust[k].sum(0) * columns).sum() / trust[k].sum() for k in (0, 1)]
    assert (
        abs(middles[0] - 15.5) < 1.0 and abs(middles[1] - middles[0]) > 0.5
    )  # what was in front moved aside


def test_what_is_trusted_wins(carried):
    rgb, trust, _ = carried
    frames = np.full_like(rgb, 0.25)
    mixed = np.asarray(symgen.outrank(frames, (rgb, trust)))
    np.testing.assert_allclose(mixed[trust == 1], rgb[trust == 1], atol=1e-6)
    np.testing.assert_array_equal(mixed[2], frames[2])
