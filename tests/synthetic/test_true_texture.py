"""The true texture against the renderer's own pictures of the same person."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import synthetic
from zero1a_jax.avatar import texture_prior
from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera, project

SIZE = 96
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def person():
    """A person with hanging hair: texture, offsets, positions on the skin, and the picture from behind."""
    model = procedural_head()
    shape, look = synthetic.identity(jax.random.key(3))
    look = look.replace(curtain=jnp.array([0.10, 1.0, 0.014, 0.0]), hair_amount=jnp.float32(1))
    params = zero_params(model).replace(shape=shape)
    camera = portrait_camera(frame_target(model, shape), jnp.pi, 0.0, SIZE)

    @jax.jit
    def run(shape, look):
        rgb, offset, valid = synthetic.true_texture(model, look, shape, texture_prior.texels())
        vertices, _ = forward(model, params.replace(shape=shape))
        return rgb, offset, valid, vertices, synthetic.render(model, look, params, camera)

    rgb, offset, valid, vertices, picture = jax.tree.map(np.asarray, run(shape, look))
    at = texture_prior.texels()
    corners = vertices[np.asarray(model.faces)[np.maximum(at.face_ids, 0)]]
    return rgb, offset, valid > 0, (corners * at.weights[..., None]).sum(2), camera, picture


def test_hair_stands_off_outward_and_the_face_does_not(person):
    _, offset, valid, place, _, _ = person
    away = np.linalg.norm(offset, axis=-1)
    crown = valid & (place[..., 1] > 0.10)
    cheek = valid & (np.abs(place[..., 1] + 0.02) < 0.01) & (place[..., 2] > 0.05)
    nape = valid & (place[..., 1] > -0.10) & (place[..., 1] < -0.06) & (place[..., 2] < -0.05)
    assert crown.sum() > 100 and np.median(away[crown]) > 0.004
    assert cheek.sum() > 50 and np.median(away[cheek]) == 0
    assert nape.sum() > 50 and np.median(away[nape]) > 0.01, "hanging hair covers the nape"
    assert (offset[nape][:, 2].mean()) < -0.005, "to the back, away from the skin"
    assert away[valid].max() < 0.12


def test_colours_are_those_of_the_renderer(person):
    rgb, offset, valid, place, camera, (picture, alpha) = person
    back = valid & (place[..., 2] < -0.05) & (place[..., 1] > 0.0)
    points = (place + offset)[back]
    pixels = np.asarray(project(camera, jnp.asarray(points))[0]).astype(int)
    assert (alpha[pixels[:, 1], pixels[:, 0]] > 0.9).mean() > 0.9
    shown = picture[pixels[:, 1], pixels[:, 0]]
    assert np.abs(np.median(shown, 0) - np.median(rgb[back], 0)).max() < 0.08
