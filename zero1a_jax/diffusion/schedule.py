"""DDIM with v-prediction, zero terminal SNR and trailing timesteps; forward and inverted.

All tables are float64 numpy and become constants of the compiled program. A step is a rotation:
with phi(a) = atan2(sqrt(1-a), sqrt(a)) and D = phi(a_t) - phi(a_prev), x_prev = cos(D) x - sin(D) v
(Song et al. 2021, eq. 12 with eta 0, in the v-prediction of Salimans and Ho 2022). Zero terminal SNR
and trailing steps: Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from zero1a_jax.diffusion.config import DiffusionConfig

Array = Any  # numpy or jax, whichever comes in goes out


class Steps(NamedTuple):
    """Tables of a sampler, from the noisy end to the clean one; numpy arrays [N]."""

    timesteps: np.ndarray  # int, where the model is evaluated
    cos: np.ndarray  # cosine of the step's angle
    sin: np.ndarray


def betas(train_steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> np.ndarray:
    """Linear betas rescaled to zero terminal SNR, float64 [train_steps]."""
    bars = alpha_bars(train_steps, start, end)
    return 1.0 - np.concatenate([bars[:1], bars[1:] / bars[:-1]])


def alpha_bars(
    train_steps: int = 1000,
    start: float = 0.00085,
    end: float = 0.012,
    *,
    scaled: bool = False,
    zero_snr: bool = True,
) -> np.ndarray:
    """Cumulative signal power a_t, float64 [train_steps].

    scaled: the square roots of the betas are evenly spaced ("scaled_linear", Stable Diffusion), not the
    betas. zero_snr: rescaled so that the last entry is exactly 0.
    """
    power = 0.5 if scaled else 1.0
    beta = np.linspace(start**power, end**power, train_steps, dtype=np.float64) ** (1 / power)
    root = np.sqrt(np.cumprod(1.0 - beta))
    if zero_snr:
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return root**2


def bars_of(config: DiffusionConfig) -> np.ndarray:
    """The signal power of a config's timesteps, float64 [train_steps]."""
    return alpha_bars(
        config.train_steps,
        config.beta_start,
        config.beta_end,
        scaled=config.beta_schedule == "scaled_linear",
        zero_snr=config.zero_snr,
    )


def trailing_timesteps(steps: int, train_steps: int = 1000, strength: float = 1.0) -> np.ndarray:
    """Timesteps [steps], evenly spaced and ending at the noisy end: round(n, n - n/N, ...) - 1.

    strength in (0, 1] starts at that fraction of the noise (n = strength * train_steps).
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; give at least 1.")
    if not 0.0 < strength <= 1.0:
        raise ValueError(f"strength is {strength}; choose it in (0, 1].")
    top = strength * train_steps
    if steps > top:
        raise ValueError(f"{steps} steps do not fit into {top:g} timesteps; take fewer steps.")
    times = np.round(np.arange(top, 0, -top / steps))[:steps].astype(np.int64) - 1
    return times


def sampler_steps(bars: np.ndarray, steps: int, strength: float = 1.0) -> Steps:
    """Tables of a sampler with `steps` model evaluations.

    At strength 1 a step leads to t - floor(n / N), as in the published scheduler, which differs from
    the next list entry where N does not divide n; below 0 the signal power is 1. At other strengths
    it leads to the next entry.
    """
    times = trailing_timesteps(steps, len(bars), strength)
    if strength == 1.0:
        previous = times - len(bars) // steps
    else:
        previous = np.append(times[1:], -1)
    noise = angle(bars[times])
    target = angle(np.where(previous >= 0, bars[np.maximum(previous, 0)], 1.0))
    return Steps(times, np.cos(noise - target), np.sin(noise - target))


def angle(bar: np.ndarray) -> np.ndarray:
    """phi(a): 0 for a clean signal, pi/2 for pure noise."""
    return np.arctan2(np.sqrt(1.0 - bar), np.sqrt(bar))


def step(latents: Array, velocity: Array, cos: Array, sin: Array) -> Array:
    """One DDIM step toward the clean end. All arguments broadcast."""
    return cos * latents - sin * velocity


def invert_step(
    velocity_at: Callable[[Array], Array], latents: Array, cos: Array, sin: Array, iterations: int
) -> Array:
    """The latents whose `step` gives these: x = (latents + sin v(x)) / cos, by fixed-point iteration.

    velocity_at(x) is the model at the step's own timestep. The iteration starts at x = latents; one
    iteration is the usual, naive inversion. cos is at least 0.929 from 10 steps on, so that the zero-SNR
    end is regular.
    """
    if iterations < 1:
        raise ValueError(f"iterations is {iterations}; give at least 1.")
    noisy = latents
    for _ in range(iterations):
        noisy = (latents + sin * velocity_at(noisy)) / cos
    return noisy


def add_noise(latents: Array, noise: Array, bar: Array) -> Array:
    """sqrt(a) latents + sqrt(1-a) noise."""
    return bar**0.5 * latents + (1.0 - bar) ** 0.5 * noise


def velocity(latents: Array, noise: Array, bar: Array) -> Array:
    """The target of v-prediction: sqrt(a) noise - sqrt(1-a) latents."""
    return bar**0.5 * noise - (1.0 - bar) ** 0.5 * latents


def clean(noisy: Array, velocity: Array, bar: Array) -> Array:
    """The clean latents that a velocity implies: sqrt(a) x - sqrt(1-a) v."""
    return bar**0.5 * noisy - (1.0 - bar) ** 0.5 * velocity


def noise_of(noisy: Array, velocity: Array, bar: Array) -> Array:
    """The noise that a velocity implies: sqrt(1-a) x + sqrt(a) v."""
    return (1.0 - bar) ** 0.5 * noisy + bar**0.5 * velocity


def velocity_of(noisy: Array, noise: Array, bar: Array) -> Array:
    """The velocity that a predicted noise implies: (noise - sqrt(1-a) x) / sqrt(a); needs a > 0."""
    return (noise - (1.0 - bar) ** 0.5 * noisy) / bar**0.5


def windows(frames: int, size: int = 16, overlap: int = 4) -> np.ndarray:
    """Context windows [W, size'] of frame indices: a closed loop with stride size - overlap.

    Up to `size` frames make one window of just those frames; more wrap around to the first frames.
    """
    if frames <= size:
        return np.arange(frames)[None]
    starts = np.arange(0, frames, size - overlap)
    return (starts[:, None] + np.arange(size)) % frames
