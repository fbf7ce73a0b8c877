"""Fine detail of the prior's head: stripes go round, hair is as deep as the portrait's, lids have lashes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import symgen
from zero1a_jax.avatar import texture_prior
from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera, project, zbuffer
from zero1a_jax.symgen import detail
from zero1a_jax.types import Portrait

SIZE = 96
GREY = 0.5


@pytest.fixture(scope="module")
def shown():
    """Template points [SIZE, SIZE, 3] in a portrait from the front, and `portrait(rgb)`."""
    model = procedural_head()
    params = zero_params(model)
    camera = portrait_camera(frame_target(model, params.shape), 0.0, 0.0, SIZE)
    vertices, _ = forward(model, params)
    ids, weights, _ = jax.jit(zbuffer, static_argnums=(3, 4))(
        *project(camera, vertices), jnp.asarray(model.faces), SIZE, SIZE
    )
    corners = np.asarray(model.template)[np.asarray(model.faces)[np.maximum(np.asarray(ids), 0)]]
    points = (corners * np.asarray(weights)[..., None]).sum(2)

    def portrait(rgb):
        return Portrait(jnp.asarray(rgb), jnp.ones((SIZE, SIZE)), jnp.zeros((105, 2)), camera, params)

    return points, portrait


@pytest.fixture(scope="module")
def detailed():
    """(portrait, offset of hair in metres) to the texture of a plain grey guess, and the texels' points."""
    model, at = procedural_head(), texture_prior.texels(detail.SIZE)
    corners = np.asarray(model.template)[np.asarray(model.faces)[np.maximum(at.face_ids, 0)]]
    points = (corners * at.weights[..., None]).sum(2)
    count, side = len(model.faces), texture_prior.SIZE

    @jax.jit
    def run(portrait, offset):
        off = jnp.zeros((count, 3)).at[:, 1].set(offset)
        guess = texture_prior.Guess(jnp.full((count, 3), GREY), off, jnp.full((side, side, 3), GREY))
        return symgen.detailed(guess, symgen.seen_by(portrait, model, off), model).texture

    skin = detail._places().skin.reshape(detail.SIZE, detail.SIZE) > 0
    return lambda portrait, offset: np.asarray(run(portrait, offset)), np.where(skin[..., None], points, 9.0)


def test_stripes_go_round(shown, detailed):
    points, portrait = shown
    run, place = detailed
    stripes = 0.5 + 0.1 * np.sign(np.sin(2 * np.pi * points[..., 1] / 0.02))
    texture = run(portrait(np.repeat(stripes[..., None], 3, -1).astype(np.float32)), 0.0)
    back = (np.abs(place[..., 1] + 0.155) < 0.012) & (place[..., 2] < -0.05)
    wanted = np.sign(np.sin(2 * np.pi * place[..., 1][back] / 0.02))
    assert back.sum() > 500 and np.corrcoef(texture[back][:, 0], wanted)[0, 1] > 0.7
    head = (place[..., 1] > -0.12) & (place[..., 1] < 1)
    np.testing.assert_allclose(texture[head], GREY, atol=1e-5)  # bare skin gets neither stripes nor strands


def test_hair_is_as_deep_as_the_portraits(shown, detailed):
    _, portrait = shown
    run, place = detailed
    back = (place[..., 2] < -0.06) & (place[..., 1] > 0.0) & (place[..., 1] < 1)
    depths = []
    for contrast in (0.0, 0.05, 0.1, 0.3, 0.4):
        noise = np.random.default_rng(0).normal(size=(SIZE, SIZE, 1)).clip(-1, 1)
        rgb = np.repeat(GREY + contrast * noise, 3, -1).astype(np.float32)
        depths.append(float(run(portrait(rgb), 0.008)[back].std()))
    assert depths[0] < 1e-3 < depths[1] < 0.7 * depths[2]
    assert depths[3] == pytest.approx(depths[4], rel=1e-3)  # deep waves are no strands
    assert run(portrait(rgb), 0.0)[back].std() < 1e-3  # a bald head


def test_lashes_are_at_the_lids_edges_alone():
    model = procedural_head()
    factor = detail.lashes()[:, 0]
    lids = np.asarray(model.masks["eyelids"])
    assert factor.min() == pytest.approx(0.4) and (factor < 0.9).sum() >= 64
    assert (factor[np.asarray(model.masks["nose"])] == 1).all()
    assert (factor[lids] > 0.9).mean() > 0.2
    left = np.asarray(model.masks["left_eyelids"])
    right = np.asarray(model.masks["right_eyelids"])
    np.testing.assert_allclose(np.sort(factor[left]), np.sort(factor[right]), atol=1e-5)
