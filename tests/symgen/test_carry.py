"""The portrait carried over to other views: exact at its own, silent where it saw nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import symgen
from zero1a_jax.avatar import part_ids
from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera, project, zbuffer
from zero1a_jax.types import Portrait

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
    seen = jax.jit(symgen.seen_by)(portrait, model)
    rgb, trust = jax.jit(symgen.carry_over)(seen, model, flame, camera)
    return np.asarray(rgb), np.asarray(trust), portrait


def test_its_own_view_is_the_portrait(carried):
    rgb, trust, portrait = carried
    sure = trust[0] > 0.9
    assert 0.05 < sure.mean() < 0.5
    # What is carried is the portrait, interpolated, with its finest detail raised a little.
    np.testing.assert_allclose(rgb[0][sure], np.asarray(portrait.rgb)[sure], atol=0.05)
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


def test_trust_ends_softly(carried):
    """Much of what is trusted is trusted in part: no border of it must be seen in the frames."""
    _, trust, _ = carried
    some = trust[1] > 0.05
    assert (trust[1][some] < 0.95).mean() > 0.3


def test_closed_lids_do_not_show_the_eyes():
    """A pixel at the lids' rim is half an eye: where they are drawn over the eye, none of it is trusted."""
    model = procedural_head()
    names = list(model.expression_names)
    open_ = zero_params(model)
    shut = np.zeros(len(names), np.float32)
    shut[[names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = 1.0
    camera = portrait_camera(frame_target(model, open_.shape), 0.0, 0.0, 64)
    vertices = forward(model, open_)[0]
    face_id = np.asarray(zbuffer(*project(camera, vertices), jnp.asarray(model.faces), 64, 64)[0])
    eyes = np.isin(np.asarray(part_ids(model)), [4, 5])[np.maximum(face_id, 0)] & (face_id >= 0)
    rgb = np.where(eyes[..., None], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]).astype(np.float32)
    portrait = Portrait(rgb, jnp.ones((64, 64)), jnp.zeros((105, 2)), camera, open_)
    seen = jax.jit(symgen.seen_by)(portrait, model)
    flame = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), open_)
    flame = flame.replace(expression=jnp.stack([open_.expression, shut]))
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), camera)
    rgb, trust = jax.jit(symgen.carry_over)(seen, model, flame, twice)
    red = np.asarray(rgb[..., 0] * trust)
    assert eyes.sum() > 10 and red[0][eyes].mean() > 0.5
    assert red[1].max() < 0.2 and red[1][eyes].mean() < 0.02
    # Nor what was folded on the lids: the prior's skin closes them.
    assert np.asarray(trust)[1][eyes].mean() < 0.1


def test_hair_is_trusted_from_less_flat_angles(fakes):
    """It stands off by guess: at its rim another surface shows."""
    model = fakes.sphere_head(rings=12, sides=24)
    portrait = fakes.disc_portrait(model)
    portrait = portrait.replace(alpha=jnp.ones_like(portrait.alpha))
    shares = []
    for off in (0.0, 0.008):
        seen = jax.jit(symgen.seen_by)(portrait, model, jnp.zeros((len(model.faces), 3)).at[:, 1].set(off))
        shares.append(float(seen.colours[..., 3].sum() / (seen.nearest[..., 1] >= 0).sum()))
    assert 0.5 * shares[0] < shares[1] < 0.95 * shares[0], shares


def test_what_is_trusted_wins(carried):
    rgb, trust, _ = carried
    frames = np.full_like(rgb, 0.25)
    mixed = np.asarray(symgen.outrank(frames, (rgb, trust)))
    np.testing.assert_allclose(mixed[trust == 1], rgb[trust == 1], atol=1e-6)
    np.testing.assert_array_equal(mixed[2], frames[2])
