"""The portrait laid onto the texture, and what the shipped network makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.avatar import bind, pose, texture_prior
from zero1a_jax.avatar.colours import nearest_depth
from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.types import Portrait

SIZE = 64
GREEN = np.array([0.1, 0.7, 0.2])


@pytest.fixture(scope="module")
def made():
    """A head seen from the front, the whole picture green, with the network's guess."""
    model = procedural_head()
    params = zero_params(model)
    camera = portrait_camera(frame_target(model, params.shape), 0.0, 0.0, SIZE)
    rgb = jnp.broadcast_to(jnp.asarray(GREEN, jnp.float32), (SIZE, SIZE, 3))
    portrait = Portrait(rgb, jnp.ones((SIZE, SIZE)), jnp.zeros((105, 2)), camera, params)

    @jax.jit
    def run(weights, portrait):
        vertices, _ = forward(model, portrait.flame)
        faces = jnp.asarray(model.faces)
        nearest = nearest_depth(camera, vertices, faces)
        texture = texture_prior.unwrap(portrait, vertices, faces, nearest=nearest)
        return texture, texture_prior.guess(weights, model, portrait)

    return model, *run(texture_prior.load_prior(), portrait)


def places(model):
    """Template position of every texel [S, S, 3], and where there is mesh."""
    at = texture_prior.texels()
    corners = np.asarray(model.template)[np.asarray(model.faces)[np.maximum(at.face_ids, 0)]]
    return (corners * at.weights[..., None]).sum(2), at.face_ids >= 0


def faces_of(model, part):
    """The triangles [F] bool of a part by name."""
    return np.asarray(model.masks[part])[np.asarray(model.faces)].all(1)


def test_the_front_is_trusted_and_the_back_is_not(made):
    model, texture, _ = made
    place, member = places(model)
    texture = np.asarray(texture)
    trust = texture[..., 3]
    nose = member & (np.abs(place[..., 0]) < 0.02) & (place[..., 2] > 0.08) & (np.abs(place[..., 1]) < 0.02)
    back = member & (place[..., 2] < -0.06)
    assert nose.sum() > 20 and np.median(trust[nose]) > 0.8
    assert back.sum() > 200 and trust[back].max() == 0 and texture[back][:, :3].max() == 0
    np.testing.assert_allclose(texture[nose][:, :3], trust[nose][:, None] * GREEN, atol=1e-5)
    assert trust[~member].max() == 0


def test_beside_the_mesh_the_rim_sees_the_picture(made):
    model, texture, _ = made
    place, member = places(model)
    beside = np.asarray(texture)[..., -1]
    crown = member & (place[..., 1] > 0.10) & (np.abs(place[..., 2] + 0.02) < 0.03)
    face = member & (place[..., 2] > 0.07) & (np.abs(place[..., 0]) < 0.03)
    assert crown.sum() > 100 and beside[crown].mean() > 0.5
    assert face.sum() > 100 and beside[face].mean() < 0.05


def test_the_guess_is_in_range_and_near_the_mesh(made):
    model, _, guess = made
    rgb, offset = np.asarray(guess.rgb), np.linalg.norm(np.asarray(guess.offset), axis=-1)
    assert rgb.shape == (len(model.faces), 3) and rgb.min() >= 0 and rgb.max() <= 1
    assert offset.max() < 2 * texture_prior.REACH
    for part in ("left_eyeball", "right_eyeball", "teeth", "mouth_interior"):
        assert offset[faces_of(model, part)].max() == 0, "what opens lids and lips stays where it is"
    assert (offset[faces_of(model, "nose")] < 1e-3).all(), "bare skin does not stand off"


def test_teeth_are_told_from_the_dark_of_an_open_mouth(made):
    model, _, guess = made
    depth = np.asarray(model.template)[np.asarray(model.faces)].mean(1)[:, 2]
    light = np.asarray(guess.rgb).mean(-1)
    teeth, pocket = (faces_of(model, part) for part in ("teeth", "mouth_interior"))
    front = teeth & (depth > 0.07)
    assert front.sum() > 50 and light[front].min() > 1.5 * np.median(light[pocket])
    assert light[pocket & (depth < 0.05)].max() < light[pocket & (depth > 0.07)].mean()


def test_both_ears_have_a_texture(made):
    """The right one's island turns its back, so that nothing is drawn there: it looks at the left one's."""
    model, _, guess = made
    left, right = (np.asarray(guess.rgb)[faces_of(model, f"{side}_ear")] for side in ("left", "right"))
    np.testing.assert_allclose(left.mean(0), right.mean(0), atol=0.06)
    assert np.abs(left.std(0) - right.std(0)).max() < 0.05


def test_standing_off_moves_along_the_triangles_frames(made):
    model, texture, _ = made
    params = zero_params(model)
    count = len(model.faces)
    offset = jnp.zeros((count, 3)).at[:, 1].set(0.01)  # a frame's second axis is the normal

    @jax.jit
    def run(key):
        avatar = bind(key, model, params.shape, capacity=count)
        moved = texture_prior.stand_off(avatar, model, offset)
        return pose(avatar, model, params), pose(moved, model, params)

    before, after = run(jax.random.key(0))
    way = np.linalg.norm(np.asarray(after.means - before.means), axis=-1)
    np.testing.assert_allclose(way, 0.01, rtol=1e-3)
    assert (np.asarray(after.log_scales) > np.asarray(before.log_scales)).all()
