"""Pictures larger than the frames that an avatar learned from show no needles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import rasterizer
from zero1a_jax.avatar import bind, pose, widened
from zero1a_jax.flame import frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.sources.avatars import Loaded, for_size


@pytest.fixture(scope="module")
def loaded():
    model = procedural_head()
    bound = jax.jit(bind, static_argnames="capacity")
    avatar = bound(jax.random.key(0), model, zero_params(model).shape, capacity=len(model.faces), opacity=0.9)
    thin = avatar.gaussians.replace(log_scales=avatar.gaussians.log_scales - 1.0)  # needles
    return Loaded(avatar.replace(gaussians=thin), model, {"size": 64}, None)


@pytest.mark.parametrize("size", [32, 64])
def test_pictures_of_the_frames_size_stay_as_they_are(loaded, size):
    assert for_size(loaded, size) is loaded


def test_an_avatar_whose_frames_nobody_knows_stays_as_it_is(loaded):
    unknown = loaded._replace(meta={})
    assert for_size(unknown, 512) is unknown


def test_widening_is_a_blur_in_metres(loaded):
    posed = jax.jit(pose)
    still = zero_params(loaded.model)
    before = np.exp(np.asarray(posed(loaded.avatar, loaded.model, still).log_scales))
    wide = jax.jit(widened)(loaded.avatar, loaded.model, 0.001)
    after = np.exp(np.asarray(posed(wide, loaded.model, still).log_scales))
    np.testing.assert_allclose(after, np.sqrt(before**2 + 0.001**2), rtol=2e-3)
    np.testing.assert_array_equal(wide.gaussians.means, loaded.avatar.gaussians.means)


def test_a_large_picture_has_fewer_gaps(loaded):
    size, model = 256, loaded.model
    flame = zero_params(model)
    camera = portrait_camera(frame_target(model, flame.shape), 0.0, 0.0, size)

    @jax.jit
    def cover(avatar):
        image = rasterizer.render(
            pose(avatar, model, flame), camera, background=jnp.ones(3), capacity=1 << 17, antialiased=True
        )
        return image.alpha

    def middle(one):
        return np.asarray(cover(one.avatar))[100:150, 100:150]

    before, after = middle(loaded), middle(for_size(loaded, size))
    gaps = [(alpha < 0.5).mean() for alpha in (before, after)]
    assert gaps[0] > 0.1 and gaps[1] < 0.5 * gaps[0], gaps
