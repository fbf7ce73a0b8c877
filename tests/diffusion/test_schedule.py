"""Noise schedule, sampler and inversion against the published scheduler and toy models with known answers."""

import numpy as np
import pytest

from zero1a_jax.diffusion import emoji_config, schedule


@pytest.fixture
def tables(reference):
    return reference("aniportrait/scheduler.npz")


def along(x, factors):
    """One factor for each of x's first axis."""
    return factors.reshape(-1, *[1] * (x.ndim - 1))


@pytest.mark.parity
def test_signal_power(tables):
    bars = schedule.alpha_bars()
    np.testing.assert_allclose(bars, tables["alphas_cumprod_f64"], atol=1e-12)
    np.testing.assert_allclose(bars, tables["alphas_cumprod_f32"], atol=1e-6)
    assert bars[-1] == 0
    np.testing.assert_allclose(schedule.betas(), tables["betas_f32"], atol=1e-5)
    scaled = schedule.bars_of(emoji_config())
    np.testing.assert_allclose(scaled, tables["alphas_cumprod_train_scaled_linear_f64"], atol=1e-12)


@pytest.mark.parity
def test_steps(tables, counts):
    bars = schedule.alpha_bars()
    for steps in counts(tables, r"timesteps_(\d+)"):
        times = schedule.trailing_timesteps(steps)
        np.testing.assert_array_equal(times, tables[f"timesteps_{steps}"])
    for steps in counts(tables, r"step(\d+)_t"):
        sampler = schedule.sampler_steps(bars, steps)
        rows = [list(sampler.timesteps).index(t) for t in tables[f"step{steps}_t"]]
        x, v = (tables[f"step{steps}_{name}"].astype(np.float64) for name in "xv")
        cos, sin = (along(x, table[rows]) for table in (sampler.cos, sampler.sin))
        assert np.abs(schedule.step(x, v, cos, sin) - tables[f"step{steps}_prev"]).max() <= 2e-6
        bar = along(x, bars[tables[f"step{steps}_t"]])
        assert np.abs(schedule.clean(x, v, bar) - tables[f"step{steps}_x0"]).max() <= 2e-6


@pytest.mark.parity
def test_noise_and_velocity(tables):
    bar = along(tables["noise_x0"], schedule.alpha_bars()[tables["noise_t"]])
    noisy = schedule.add_noise(tables["noise_x0"], tables["noise_eps"], bar)
    assert np.abs(noisy - tables["noisy"]).max() <= 2e-6
    velocity = schedule.velocity(tables["noise_x0"], tables["noise_eps"], bar)
    assert np.abs(velocity - tables["velocity"]).max() <= 2e-6
    noise = schedule.noise_of(noisy, velocity, bar)
    np.testing.assert_allclose(noise, tables["noise_eps"], atol=1e-5)
    some = bar.ravel() > 0.01
    again = schedule.velocity_of(noisy[some], noise[some], bar[some])
    np.testing.assert_allclose(again, velocity[some], atol=1e-5)


def gaussian_velocity(x, bar, mean, variance):
    """The exact v of data ~ N(mean, diag(variance))."""
    spread = bar * variance + 1 - bar
    clean = mean + np.sqrt(bar) * variance / spread * (x - np.sqrt(bar) * mean)
    noise = np.sqrt(1 - bar) / spread * (x - np.sqrt(bar) * mean)
    return np.sqrt(bar) * noise - np.sqrt(1 - bar) * clean


@pytest.mark.parity
def test_inversion_of_a_gaussian(tables, counts):
    bars = schedule.alpha_bars()
    for steps in counts(tables, r"toy_gauss_(\d+)_implicit_K\d+_skip0_zT"):
        sampler = schedule.sampler_steps(bars, steps)

        def velocity_at(i, sampler=sampler):
            bar = bars[sampler.timesteps[i]]
            return lambda noisy: gaussian_velocity(noisy, bar, tables["toy_mu"], tables["toy_s2"])

        for iterations in counts(tables, rf"toy_gauss_{steps}_implicit_K(\d+)_skip0_zT"):
            name, x = f"toy_gauss_{steps}_implicit_K{iterations}_skip0", tables["toy_gauss_x0"]
            for i in reversed(range(steps)):
                x = schedule.invert_step(velocity_at(i), x, sampler.cos[i], sampler.sin[i], iterations)
            assert np.abs(x - tables[f"{name}_zT"]).max() <= 1e-9, name
            for i in range(steps):
                x = schedule.step(x, velocity_at(i)(x), sampler.cos[i], sampler.sin[i])
            assert np.abs(x - tables[f"{name}_x0rec"]).max() <= 1e-9, name


def test_denoising_a_gaussian_gives_its_moments():
    """An independent truth: the sampler carries unit noise to the data's distribution."""
    bars, rng = schedule.alpha_bars(), np.random.default_rng(0)
    sampler = schedule.sampler_steps(bars, 100)
    mean, variance = np.array([1.0, -2.0]), np.array([0.25, 2.0])
    x = rng.normal(size=(20000, 2))
    for i in range(100):
        bar = bars[sampler.timesteps[i]]
        x = schedule.step(x, gaussian_velocity(x, bar, mean, variance), sampler.cos[i], sampler.sin[i])
    np.testing.assert_allclose(x.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(x.var(0), variance, rtol=0.1)


def test_strength_starts_lower_and_ends_clean():
    bars = schedule.alpha_bars()
    sampler = schedule.sampler_steps(bars, 6, 0.6)
    np.testing.assert_array_equal(sampler.timesteps, [599, 499, 399, 299, 199, 99])
    total = np.arctan2(sampler.sin, sampler.cos).sum()
    np.testing.assert_allclose(total, schedule.angle(bars[599]), atol=1e-12)


@pytest.mark.parametrize(
    "frames, size, overlap, expected",
    [
        (3, 4, 2, [[0, 1, 2]]),
        (6, 4, 2, [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 0, 1]]),
        (40, 16, 4, [[*range(16)], [*range(12, 28)], [*range(24, 40)], [36, 37, 38, 39, *range(12)]]),
    ],
)
def test_windows_close_the_loop(frames, size, overlap, expected):
    np.testing.assert_array_equal(schedule.windows(frames, size, overlap), expected)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: schedule.trailing_timesteps(0), "at least 1"),
        (lambda: schedule.trailing_timesteps(10, strength=1.5), r"\(0, 1\]"),
        (lambda: schedule.trailing_timesteps(300, strength=0.1), "fewer"),
        (lambda: schedule.invert_step(lambda x: x, 0.0, 1.0, 0.0, 0), "at least 1"),
    ],
)
def test_bad_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call()
