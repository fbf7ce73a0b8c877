"""Condition images, the refresh's order of things, its checks, and the matte."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import symgen
from zero1a_jax.geometry import portrait_camera

WHITE = jnp.ones(3)


@dataclasses.dataclass(frozen=True)
class Refresh:
    inversion: bool = True
    strength: float = 0.6
    inversion_steps: int = 4
    inversion_iterations: int = 2
    inversion_guidance: float = 0.5
    denoise_steps: int = 5
    guidance: float = 2.0
    noise_guidance: float = 3.0


class Recorder:
    """A diffusion that writes down what it is asked."""

    def __init__(self):
        self.calls = []

    def encode(self, params, frames):
        self.calls.append(("encode", float(frames.mean())))
        return 2.0 * frames

    def invert(self, params, latents, reference, conditions, **options):
        self.calls.append(("invert", options))
        return latents + 1.0

    def denoise(self, params, latents, reference, conditions, **options):
        self.calls.append(("denoise", options))
        self.start = latents
        return latents - 1.0

    def decode(self, params, latents):
        self.calls.append(("decode", None))
        return latents / 2.0


def sample():
    rgb = jnp.asarray(np.random.default_rng(0).random((3, 16, 16, 3)), jnp.float32)
    return rgb, jnp.ones((3, 16, 16)), jnp.zeros((3, 16, 16, 3))


def refreshed(diffusion, config, **options):
    rgb, alpha, conditions = sample()
    options |= {"key": jax.random.key(0), "background": WHITE, "config": config}
    return symgen.refresh(diffusion, None, None, rgb, alpha, conditions, **options)


def test_refresh_encodes_inverts_denoises_decodes():
    diffusion = Recorder()
    rgb, alpha, reason = refreshed(diffusion, Refresh())
    assert [name for name, _ in diffusion.calls] == ["encode", "invert", "denoise", "decode"]
    assert diffusion.calls[1][1] == {"steps": 4, "strength": 0.6, "iterations": 2, "guidance": 0.5}
    assert diffusion.calls[2][1] == {"steps": 5, "strength": 0.6, "guidance": 2.0}
    np.testing.assert_allclose(rgb, sample()[0], atol=1e-6)
    assert alpha.shape == (3, 16, 16) and reason == symgen.ACCEPTED


@pytest.mark.parametrize("how", ["first fill", "no inversion"])
def test_from_noise(how):
    diffusion = Recorder()
    config = Refresh(inversion=how == "first fill")
    refreshed(diffusion, config, from_noise=how == "first fill")
    assert [name for name, _ in diffusion.calls] == ["encode", "denoise", "decode"]
    assert diffusion.calls[1][1] == {"steps": 5, "strength": 1.0, "guidance": 3.0}
    assert abs(float(diffusion.start.std()) - 1.0) < 0.1 and abs(float(diffusion.start.mean())) < 0.1


def test_check():
    good = sample()[0]
    assert symgen.check(good) == symgen.ACCEPTED
    assert symgen.check(good.at[1].set(0.3)) == symgen.BLANK
    assert symgen.check(good.at[2, 3, 3, 0].set(jnp.nan)) == symgen.NOT_FINITE


def disc(radius, size=48):
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    return jnp.asarray((np.hypot(x, y) < radius), jnp.float32)


def test_matte_follows_the_generated_frame_near_the_edge():
    for truth in (14.0, 16.0, 17.5):  # smaller, equal, larger than the avatar's 16
        frame = 1.0 - 0.6 * disc(truth)[..., None] * jnp.ones(3)
        matte = symgen.clean_matte(disc(16.0)[None], frame[None], WHITE)[0]
        assert float(jnp.abs(matte - disc(truth)).mean()) < 0.01


def test_matte_keeps_white_inside_and_drops_smudges_outside():
    frame = 1.0 - 0.6 * disc(16.0)[..., None] * jnp.ones(3)
    frame = frame.at[23:25, 23:25].set(1.0)  # teeth
    frame = frame.at[0:4, 0:4].set(0.2)  # a smudge in the corner
    matte = symgen.clean_matte(disc(16.0)[None], frame[None], WHITE)[0]
    assert (matte[23:25, 23:25] == 1).all() and (matte[:5, :5] == 0).all()


def test_condition_images(fakes):
    model, params = fakes.sphere_head(), fakes.disc_portrait(fakes.sphere_head()).flame

    @jax.jit
    def make(yaw):
        camera = portrait_camera(jnp.array([0.0, -0.005, 0.02]), yaw, 0.0, 40)
        points = symgen.condition_points(model, params, camera, size=64)
        images = functools.partial(symgen.condition_images, model, params, camera, size=64)
        lines, dense = images(kind="landmarks"), images(kind="dense")
        return lines, dense, images(kind="landmarks", points=points + 5.0)

    lines, dense, moved = jax.tree.map(np.asarray, make(0.0))
    assert lines.shape == dense.shape == (64, 64, 3)
    drawn = lines.max(-1) > 0
    np.testing.assert_array_equal(dense[drawn], lines[drawn])
    covered = dense.max(-1) > 0
    assert covered.sum() > drawn.sum() > 50 and not covered[0, 0]
    np.testing.assert_allclose(moved[5:, 5:], lines[:-5, :-5], atol=1e-6)
    assert (np.asarray(make(0.6)[0]) != lines).any()


def test_condition_kind_is_checked(fakes):
    with pytest.raises(ValueError, match="choose from landmarks, emoji, dense"):
        symgen.condition_images(fakes.sphere_head(), None, None, size=64, kind="depth")
