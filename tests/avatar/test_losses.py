"""The regularisers and their gradients against GaussianAvatars', and their edge cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.avatar import position_loss, scale_loss
from zero1a_jax.types import Avatar, Gaussians


def avatar_of(means, log_scales, alive=None) -> Avatar:
    count = len(means)
    quats = jnp.tile(jnp.array([1.0, 0, 0, 0]), (count, 1))
    gaussians = Gaussians(
        jnp.asarray(means), jnp.asarray(log_scales), quats, jnp.zeros((count, 1, 3)), jnp.zeros(count)
    )
    alive = jnp.ones(count, bool) if alive is None else alive
    return Avatar(gaussians, jnp.zeros(count, jnp.int32), alive, jnp.zeros(1))


@pytest.mark.parity
def test_values_and_gradients(reference):
    """GaussianAvatars weighs the position term by 0.01, the scale term by 1."""
    arrays = reference("flame/rigging.npz")
    radii = 3.0 * arrays["visibility"]

    def terms(means, log_scales):
        avatar = avatar_of(means, log_scales)
        return 0.01 * position_loss(avatar, radii), scale_loss(avatar, radii)

    means, log_scales = arrays["local_xyz"], arrays["local_log_scaling"]
    position, scale = jax.jit(terms)(means, log_scales)
    np.testing.assert_allclose(position, arrays["loss_xyz"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(scale, arrays["loss_scale"], rtol=0, atol=1e-6)
    by_position, by_scale = jax.jit(jax.jacobian(terms, (0, 1)))(means, log_scales)
    for found, name in (
        (by_position[0], "xyz_xyz"),
        (by_position[1], "xyz_scaling"),
        (by_scale[0], "scale_xyz"),
        (by_scale[1], "scale_scaling"),
    ):
        np.testing.assert_allclose(found, arrays[f"grad_loss_{name}"], rtol=0, atol=1e-6)


def test_nothing_visible_is_zero_with_zero_gradient():
    means = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32) * 3
    for loss in (position_loss, scale_loss):
        value, gradient = jax.value_and_grad(lambda m, loss=loss: loss(avatar_of(m, m), np.zeros(5)))(means)
        assert float(value) == 0 and float(jnp.abs(gradient).max()) == 0


def test_gradient_at_the_origin_is_zero():
    zeros = jnp.zeros((4, 3))
    small = jnp.full((4, 3), -5.0)
    loss = lambda m, s: position_loss(avatar_of(m, s), np.ones(4)) + scale_loss(avatar_of(m, s), np.ones(4))  # noqa: E731
    gradient = jax.grad(loss, (0, 1))(zeros, small)
    assert all(float(jnp.abs(part).max()) == 0 for part in gradient)


def test_only_visible_and_living_ones_count():
    means = np.zeros((4, 3), np.float32)
    means[:, 0] = [3.0, 2.0, 100.0, 1000.0]
    avatar = avatar_of(means, np.zeros((4, 3), np.float32), np.array([True, True, True, False]))
    radii = np.array([[1.0, 1.0, 0.0, 1.0], [0.0, 5.0, 0.0, 5.0]])  # two frames
    np.testing.assert_allclose(position_loss(avatar, radii), [1.5, 1.0])
    np.testing.assert_allclose(scale_loss(avatar, radii), 0.4 * np.sqrt(3) * np.ones(2), rtol=1e-6)
    np.testing.assert_allclose(position_loss(avatar, radii, threshold=2.5), [0.25, 0.0])
