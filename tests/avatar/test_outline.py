"""Hair and clothes that meet the portrait's outline."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.avatar import moved
from zero1a_jax.avatar.outline import CLOTHES, fit_outline
from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera, project, resize, zbuffer
from zero1a_jax.image import ops
from zero1a_jax.types import Portrait

SIZE = 96
FINE = 4


@pytest.fixture(scope="module")
def head():
    """The embedded head, its scalp's triangles, and functions of offsets [F, 3]: its matte, a fit to one."""
    model = procedural_head()
    params = zero_params(model)
    camera = portrait_camera(frame_target(model, params.shape), 0.0, 0.0, SIZE)
    faces, vertices = jnp.asarray(model.faces), forward(model, params)[0]
    fine = resize(camera, FINE * SIZE, FINE * SIZE)

    @jax.jit
    def matte(offset):
        ids = zbuffer(*project(fine, moved(vertices, faces, offset)), faces, fine.height, fine.width)[0]
        return ops.resize((ids >= 0).astype(jnp.float32)[..., None], SIZE, SIZE)[..., 0]

    @jax.jit
    def fitted(offset, alpha):
        rgb, points = jnp.zeros((SIZE, SIZE, 3)), jnp.zeros((105, 2))
        return fit_outline(offset, model, Portrait(rgb, alpha, points, camera, params))

    return model, np.asarray(model.masks["scalp"])[np.asarray(model.faces)].all(1), matte, fitted


def raised(member, metres):
    """Offsets [F, 3] of `metres` along the normals of the triangles `member` [F]."""
    return jnp.zeros((len(member), 3)).at[:, 1].set(jnp.where(jnp.asarray(member), metres, 0.0))


def differ(one, other):
    """Pixels, in parts of the second silhouette, that only one of two mattes covers."""
    one, other = np.asarray(one) > 0.5, np.asarray(other) > 0.5
    return (one != other).sum() / other.sum()


@pytest.mark.parametrize("said", [0.006, 0.018])
def test_hair_meets_the_outline_from_inside_and_from_outside(head, said):
    _, scalp, matte, fitted = head
    true = matte(raised(scalp, 0.012))
    before = raised(scalp, said)
    after = fitted(before, true)
    assert differ(matte(before), true) > 0.015
    assert differ(matte(after), true) < 0.6 * differ(matte(before), true)


def test_hair_errs_outward_by_a_millimetre_or_two(head):
    _, scalp, matte, fitted = head
    offset = raised(scalp, 0.012)
    change = np.asarray(fitted(offset, matte(offset)) - offset)[:, 1]
    assert 0.0005 < change[scalp].max() < 0.0025


def test_bare_skin_stays(head):
    """A matte that is wider all around moves clothes alone where nothing stands off."""
    model, scalp, matte, fitted = head
    offset = jnp.zeros((len(scalp), 3))
    change = np.asarray(fitted(offset, matte(raised(np.ones(len(scalp), bool), 0.006))))
    height = np.asarray(model.template)[np.asarray(model.faces)][..., 1]
    assert np.abs(change[(height > CLOTHES).all(1)]).max() == 0
    assert change[(height < CLOTHES).all(1), 1].max() > 0.002


def test_a_matte_without_an_outline_moves_nothing(head):
    _, scalp, _, fitted = head
    offset = raised(scalp, 0.012)
    for alpha in (jnp.ones((SIZE, SIZE)), jnp.zeros((SIZE, SIZE))):
        np.testing.assert_array_equal(fitted(offset, alpha), offset)
