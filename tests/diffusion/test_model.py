"""The public functions on a tiny random model."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.diffusion import build, model, official, schedule, vae


@pytest.fixture(scope="module")
def config(make_config):
    return make_config(precondition=True, reference_pose=True)


@pytest.fixture(scope="module")
def setting(config, make_params):
    """(model, parameters, reference, latents [6, ...], condition images [6, ...])."""
    params, functions = make_params(config), build(config)
    keys = jax.random.split(jax.random.key(5), 4)
    rgb = jax.random.uniform(keys[0], (32, 32, 3))
    own = jax.random.uniform(keys[1], (32, 32, 3))
    given = jax.jit(functions.reference)(params, rgb, own)
    latents = jax.random.normal(keys[2], (6, 4, 4, 4))
    return functions, params, given, latents, jax.random.uniform(keys[3], (6, 32, 32, 3))


def run(function, **options):
    return jax.jit(functools.partial(function, **options))


def test_shapes_and_range(setting):
    functions, params, given, latents, conditions = setting
    frames = jax.jit(functions.decode)(params, latents)
    assert frames.shape == (6, 32, 32, 3)
    assert float(frames.min()) >= 0 and float(frames.max()) <= 1
    assert jax.jit(functions.encode)(params, frames).shape == latents.shape
    assert given.bank[0].shape[0] == 1 and given.context.shape == (1, 1, 8)


def test_inversion_and_denoising_return_the_input(setting):
    functions, params, given, latents, conditions = setting
    options = dict(steps=8, strength=0.8)
    error = {}
    for iterations in (1, 8):
        noisy = run(functions.invert, iterations=iterations, **options)(params, latents, given, conditions)
        back = run(functions.denoise, guidance=1.0, **options)(params, noisy, given, conditions)
        error[iterations] = float(jnp.linalg.norm(back - latents) / jnp.linalg.norm(latents))
    assert float(jnp.abs(noisy - latents).max()) > 0.5  # it went somewhere
    assert error[8] < 1e-2 and error[8] < error[1]


def test_loops_do_what_the_steps_say(setting):
    """Against a plain Python loop over `velocity`."""
    functions, params, given, latents, conditions = setting
    velocity = jax.jit(functions.velocity)
    tables = schedule.sampler_steps(functions.bars, 3)
    x = latents
    for t, cos, sin in zip(*tables, strict=True):
        x = cos * x - sin * velocity(params, x, int(t), given, conditions, guidance=2.0)
    out = run(functions.denoise, steps=3, guidance=2.0)(params, latents, given, conditions)
    np.testing.assert_allclose(out, x, atol=2e-4)


def test_guidance_is_linear_and_zero_ignores_the_portrait(setting):
    functions, params, given, latents, conditions = setting
    at = jax.jit(functions.velocity, static_argnames="guidance")
    v = {s: np.asarray(at(params, latents, 500, given, conditions, guidance=s)) for s in (0.0, 1.0, 3.0)}
    np.testing.assert_allclose(v[3.0], v[0.0] + 3 * (v[1.0] - v[0.0]), atol=1e-4)
    other = jax.tree.map(lambda x: x + 1.0, given)
    np.testing.assert_array_equal(v[0.0], at(params, latents, 500, other, conditions, guidance=0.0))
    changed = at(params, latents, 500, other, conditions, guidance=1.0)
    assert np.abs(changed - v[1.0]).max() > 1e-3
    traced = jax.jit(functions.velocity)(params, latents, 500, given, conditions, guidance=jnp.float32(3.0))
    np.testing.assert_allclose(traced, v[3.0], atol=1e-4)


def test_windows_are_averaged(setting, config):
    """6 frames in windows of 4 with overlap 1: each window's own result, averaged where they meet."""
    functions, params, given, latents, conditions = setting
    at = jax.jit(functions.velocity)
    total, count = np.zeros(latents.shape), np.zeros(6)
    for window in schedule.windows(6, config.window, config.overlap):
        total[window] += at(params, latents[window], 500, given, conditions[window])
        count[window] += 1
    whole = at(params, latents, 500, given, conditions)
    np.testing.assert_allclose(whole, total / count[:, None, None, None], atol=1e-5)


def test_preconditioning_is_the_best_linear_estimate(config):
    """Of v from x_t, by regression on samples of the given variances."""
    rng, power = np.random.default_rng(0), np.array([0.3, 1.0, 4.0])
    bar = schedule.alpha_bars()[500]
    x0, noise = rng.normal(size=(200000, 3)) * np.sqrt(power), rng.normal(size=(200000, 3))
    x, v = schedule.add_noise(x0, noise, bar), schedule.velocity(x0, noise, bar)
    slope = (x * v).mean(0) / (x**2).mean(0)
    scale, skip, out = (
        np.asarray(a).reshape(-1)
        for a in model._preconditioning(config, jnp.asarray(power), jnp.array([500]))
    )
    np.testing.assert_allclose(skip, slope, atol=0.01)
    np.testing.assert_allclose(scale, x.std(0) ** -1, rtol=0.01)
    np.testing.assert_allclose(out, (v - slope * x).std(0), rtol=0.01)


def test_a_model_that_predicts_noise(make_config, monkeypatch):
    """A network that knows the noise in x_t: the velocity made of it is the true one."""
    c = make_config(zero_snr=False, prediction="noise")
    clean, noise = jax.random.normal(jax.random.key(0), (2, 2, 3, 4, 4, 4))
    timesteps = jnp.array([20, 700])
    bar = schedule.bars_of(c)[timesteps][:, None, None, None, None].astype(np.float32)

    class Knows:
        def __init__(self, config):
            assert config is c

        def apply(self, *_):
            return noise

    monkeypatch.setattr(model, "DenoisingUNet", Knows)
    given = model.Reference((), jnp.ones((2, 1, 8)))
    noisy = schedule.add_noise(clean, noise, bar)
    v = model.predict(c, {"denoiser": {}}, noisy, timesteps, given, pose=[], read=jnp.ones(2))
    np.testing.assert_allclose(v, schedule.velocity(clean, noise, bar), atol=1e-4)


def test_shared_body_and_linear_encoder(make_config, make_params):
    c = make_config(shared_unets=True, vae_linear=True, latent_channels=16, position_table=True)
    params = make_params(c)
    assert "reference" not in params and set(params["vae"]["network"]) == {"decoder", "post_quant_conv"}
    frames = np.random.default_rng(0).uniform(size=(64, 32, 32, 3)).astype(np.float32)
    frames = np.repeat(np.repeat(frames[:, ::4, ::4], 4, 1), 4, 2)  # 4 patches of 4x4 a latent: rank 12
    silent = params["vae"] | vae.fit_linear(frames, c)
    silent["network"] = jax.tree.map(jnp.zeros_like, silent["network"])
    latents = vae.encode(silent, jnp.asarray(frames[:4]), c)
    np.testing.assert_allclose(vae.decode(silent, latents, c), frames[:4], atol=1e-3)
    given = build(c).reference(params, jnp.asarray(frames[0]))
    assert bool(jnp.isfinite(given.bank[0]).all())


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(frame_size=33), "multiple"),
        (dict(up_attention=(True,)), "one entry a level"),
        (dict(pose_strides=(1, 1)), "make it 8"),
        (dict(condition="depth"), "landmarks"),
        (dict(beta_schedule="cosine"), "scaled_linear"),
        (dict(prediction="noise"), "zero_snr=False"),
        (dict(pose_norm="running", pose_range=(-1.0, 509.0)), 'pose_norm="batch"'),
        (dict(pose_norm="layer"), "running"),
        (dict(window=40), "motion_frames"),
    ],
)
def test_bad_configs(make_config, change, message):
    with pytest.raises(ValueError, match=message):
        make_config(**change)


def test_the_official_mode_is_for_batch_norm(make_config):
    c = official(make_config(pose_norm="running"))
    assert (c.pose_norm, c.pose_range, c.bank_float16) == ("batch", (-1.0, 509.0), True)
    with pytest.raises(ValueError, match="no batch norm"):
        official(make_config(pose_norm="none"))


def test_bad_arguments(setting):
    functions, params, given, latents, conditions = setting
    with pytest.raises(ValueError, match=r"latents has shape"):
        functions.denoise(params, latents[..., :2], given, conditions, steps=2)
    with pytest.raises(ValueError, match=r"conditions has shape"):
        functions.denoise(params, latents, given, conditions[:3], steps=2)
    with pytest.raises(ValueError, match=r"condition image too"):
        functions.reference(params, jnp.zeros((32, 32, 3)))
    with pytest.raises(ValueError, match="iterations"):
        functions.invert(params, latents, given, conditions, steps=2, iterations=0)


def test_the_slow_libraries_are_imported_late():
    code = "import sys, zero1a_jax.diffusion; assert not {'diffusers', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
