"""Fine detail of the prior's head: clothes' edge and stripes, hair as deep as the portrait's, lashes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from zero1a_jax import symgen
from zero1a_jax.avatar import texture_prior
from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera, project, zbuffer
from zero1a_jax.showing import poses
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
    plain = jnp.full((side, side, 3), GREY)

    @jax.jit
    def run(portrait, offset, texture=plain):
        off = jnp.zeros((count, 3)).at[:, 1].set(offset)
        guess = texture_prior.Guess(jnp.full((count, 3), GREY), off, texture)
        return symgen.detailed(guess, symgen.seen_by(portrait, model, off), model).texture

    skin = detail._places().skin.reshape(detail.SIZE, detail.SIZE) > 0
    return lambda *arguments: np.asarray(run(*arguments)), np.where(skin[..., None], points, 9.0)


def faded(height, clothes):
    """Skin above -0.12 m that becomes the colour of clothes over four centimetres, [..., 3]."""
    share = np.clip((-0.12 - height) / 0.04, 0, 1)[..., None]
    return (GREY + share * (np.array(clothes) - GREY)).astype(np.float32)


@pytest.mark.parametrize("clothes, told", [((0.3, 0.3, 0.9), True), ((GREY, GREY, 0.55), False)])
@pytest.mark.parametrize("seen", [False, True])
def test_clothes_end_at_an_edge(shown, detailed, clothes, told, seen):
    """What is too like the skin stays as it is; a portrait that fades too brings no clothes up the neck."""
    points, portrait = shown
    run, place = detailed
    at, model = texture_prior.texels(texture_prior.SIZE), procedural_head()
    corners = np.asarray(model.template)[np.asarray(model.faces)[np.maximum(at.face_ids, 0)]]
    guess = faded((corners * at.weights[..., None]).sum(2)[..., 1], clothes)
    shows = portrait(faded(points[..., 1], clothes)).replace(alpha=jnp.full((SIZE, SIZE), float(seen)))
    part = (run(shows, 0.0, guess)[..., 2] - GREY) / (clothes[2] - GREY)
    height = place[..., 1]
    skin, clad, between = height > -0.134, height < -0.148, (height < -0.12) & (height > -0.16)
    width = np.mean((part > 0.1) & (part < 0.9) & between) / np.mean(between)
    if not told:
        assert width > 0.6
    elif seen:
        assert part[skin & (height < 1)].max() < 0.1
    else:
        assert part[skin & (height < 1)].max() < 0.1 and np.mean(part[clad] > 0.9) > 0.99 and width < 0.3


@pytest.mark.parametrize("axis, period", [(1, 0.02), (0, 0.03)])
def test_stripes_go_round_or_over_the_shoulders(shown, detailed, axis, period):
    points, portrait = shown
    run, place = detailed
    stripes = 0.5 + 0.1 * np.sign(np.sin(2 * np.pi * points[..., axis] / period))
    texture = run(portrait(np.repeat(stripes[..., None], 3, -1).astype(np.float32)), 0.0)
    back = (np.abs(place[..., 1] + 0.155) < 0.012) & (place[..., 2] < -0.05)
    wanted = np.sign(np.sin(2 * np.pi * place[..., axis][back] / period))
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


@pytest.mark.parametrize("closed", [0.0, 0.5, 1.0])
def test_lashes_are_at_the_lids_edges_alone(closed):
    """However far the lids are stretched: half a millimetre of dark, and none from one and a half on."""
    model = procedural_head()
    faces, edge = np.asarray(model.faces), detail._lid_edges()
    blink = poses.from_arkit(model, {"eyeBlinkLeft": closed, "eyeBlinkRight": closed})
    vertices = np.asarray(forward(model, blink)[0])
    draw = np.random.default_rng(0)
    near = np.flatnonzero(np.isin(faces, np.flatnonzero(edge)).any(1))
    ids = draw.choice(near, 4000)
    weights = draw.dirichlet(np.ones(3), len(ids)).astype(np.float32)
    factor = np.asarray(jax.jit(detail.lashes)(vertices, faces, ids, weights))

    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = pairs[(edge[pairs] > 0).all(1)]
    along = np.linspace(0, 1, 33)[:, None, None]
    line = ((1 - along) * vertices[pairs[:, 0]] + along * vertices[pairs[:, 1]]).reshape(-1, 3)
    points = (vertices[faces[ids]] * weights[..., None]).sum(1)
    away, _ = scipy.spatial.cKDTree(line).query(points)
    assert ((away < 0.0004).sum() > 50) and ((away > 0.0016).sum() > 50)
    assert np.mean(factor[away < 0.0004] < 0.5) > 0.95 and factor.min() == pytest.approx(0.4)
    assert np.mean(factor[away > 0.0016] > 0.99) > 0.95

    nose = np.flatnonzero(np.asarray(model.masks["nose"])[faces].all(1))
    elsewhere = jax.jit(detail.lashes)(vertices, faces, nose, np.full((len(nose), 3), 1 / 3, np.float32))
    np.testing.assert_array_equal(elsewhere, 1.0)
