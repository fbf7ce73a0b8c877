"""Larger pictures than the frames show an avatar's skin without needles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import rasterizer
from zero1a_jax.avatar import bind, part_ids, pose, pose_blurred
from zero1a_jax.flame import frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.showing import poses

WIDTH = 0.0007


@pytest.fixture(scope="module")
def thin():
    """An avatar of needles on an opened mouth."""
    model = procedural_head()
    bound = jax.jit(bind, static_argnames="capacity")
    avatar = bound(jax.random.key(0), model, zero_params(model).shape, capacity=len(model.faces), opacity=0.9)
    gaussians = avatar.gaussians.replace(log_scales=avatar.gaussians.log_scales - 1.0)
    return avatar.replace(gaussians=gaussians), model, poses.from_arkit(model, {"jawOpen": 1.0})


def test_it_is_a_blur_in_metres_of_the_posed_skin(thin):
    avatar, model, params = thin
    before, after = jax.jit(pose)(*thin), jax.jit(pose_blurred)(*thin, WIDTH)
    skin = np.asarray(part_ids(model))[np.asarray(avatar.face_ids)] == 0
    wanted = np.sqrt(np.exp(2 * before.log_scales) + WIDTH**2)
    np.testing.assert_allclose(np.exp(after.log_scales)[skin], wanted[skin], rtol=1e-5)
    np.testing.assert_array_equal(after.log_scales[~skin], before.log_scales[~skin])
    assert 0.5 < skin.mean() < 1
    for name in ("means", "quats", "sh", "opacity_logits"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_without_a_blur_nothing_changes(thin):
    before, after = jax.jit(pose)(*thin), jax.jit(pose_blurred)(*thin, 0.0)
    np.testing.assert_allclose(after.log_scales, before.log_scales, rtol=1e-6)


def test_a_large_picture_has_fewer_gaps(thin):
    avatar, model, _ = thin
    flame, size = zero_params(model), 256
    camera = portrait_camera(frame_target(model, flame.shape), 0.0, 0.0, size)

    @jax.jit
    def cover(blur):
        posed = pose_blurred(avatar, model, flame, blur)
        image = rasterizer.render(posed, camera, background=jnp.ones(3), capacity=1 << 17, antialiased=True)
        return image.alpha[100:150, 100:150]

    before, after = (float(jnp.mean(cover(blur) < 0.5)) for blur in (0.0, WIDTH))
    assert before > 0.1 and after < 0.5 * before, (before, after)
