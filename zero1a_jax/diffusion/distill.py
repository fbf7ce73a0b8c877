"""Score distillation: gradients with respect to latents, for comparison with SymGEN's dataset updates.

All three are w(t) times a difference of predicted noises, and none passes a gradient through the model. They
need of it `velocity(latents, timestep, guidance) -> v` like latents, where guidance 0 is the unconditional
branch and 1 the conditional one; `of_model` makes it from a VideoDiffusion. With
x_t = sqrt(a_t) x_0 + sqrt(1-a_t) noise the predicted noise is eps = sqrt(1-a_t) x_t + sqrt(a_t) v. The caller
passes the gradient on to what made the latents, by a vector-Jacobian product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.diffusion import schedule

Array = jax.Array
Velocity = Callable[[Array, Array, "float | Array"], Array]


def of_model(model: Any, params: Any, reference: Any, conditions: Array) -> Velocity:
    """`velocity(latents, timestep, guidance)` of a model for one portrait and its condition images.

    The model is a VideoDiffusion, or what `adapt` makes: it has a function `velocity`.
    """

    def velocity(latents: Array, timestep: Array, guidance: float | Array) -> Array:
        return model.velocity(params, latents, timestep, reference, conditions, guidance=guidance)

    return velocity


def sigma_squared(bar: Array) -> Array:
    """The default weight w(t) = 1 - a_t, which is sigma_t^2 (Poole et al. 2022, section 3)."""
    return 1.0 - bar


def sds(
    velocity: Velocity,
    bars: np.ndarray,
    latents: Array,
    timestep: Array,
    noise: Array,
    *,
    guidance: float = 7.5,
    weight: Callable[[Array], Array] = sigma_squared,
) -> Array:
    """Score distillation sampling (Poole et al. 2022, "DreamFusion", eq. 3 without the renderer's Jacobian).

    grad = w(t) (eps(x_t; t, guided) - noise), x_t = sqrt(a_t) x_0 + sqrt(1-a_t) noise.

    Args:
      velocity: see the module.
      bars: signal power of every timestep, numpy [train_steps].
      latents: x_0 [T, ...], any shape behind. timestep: t [] int. noise: like latents, standard normal.
      guidance: classifier-free guidance; the paper uses 100 for text, others 7.5.
      weight: w of the signal power.

    Returns:
      The gradient, like latents.
    """
    bar = _bar(bars, timestep)
    noisy = schedule.add_noise(latents, noise, bar)
    return weight(bar) * (_noise(velocity, noisy, timestep, bar, guidance) - noise)


def nfsd(
    velocity: Velocity,
    bars: np.ndarray,
    latents: Array,
    timestep: Array,
    noise: Array,
    *,
    negative: Velocity,
    guidance: float = 7.5,
    switch: float = 0.2,
    weight: Callable[[Array], Array] = sigma_squared,
) -> Array:
    """Noise-free score distillation (Katzir et al. 2023, "Noise-free score distillation").

    grad = w(t) (d_D + s d_C), with the condition's direction d_C = eps(x_t; cond) - eps(x_t; uncond) and the
    domain's

      d_D = eps(x_t; uncond)                       for t < 0.2 of all timesteps,
      d_D = eps(x_t; uncond) - eps(x_t; negative)  for the others, where the noise has to cancel.

    Args:
      velocity, bars, latents, timestep, noise, weight: as for `sds`.
      negative: the same model conditioned on what the result shall not be, called with guidance 1. The paper
        has a negative text ("unrealistic, blurry, ..."); a portrait model can be given a spoilt portrait.
      guidance: s.
      switch: where d_D changes, as a share of all timesteps.

    Returns:
      The gradient, like latents.
    """
    bar = _bar(bars, timestep)
    noisy = schedule.add_noise(latents, noise, bar)
    free = _noise(velocity, noisy, timestep, bar, 0.0)
    condition = _noise(velocity, noisy, timestep, bar, 1.0) - free
    unwanted = _noise(negative, noisy, timestep, bar, 1.0)
    domain = jnp.where(jnp.asarray(timestep) < switch * len(bars), free, free - unwanted)
    return weight(bar) * (domain + guidance * condition)


def ism(
    velocity: Velocity,
    bars: np.ndarray,
    latents: Array,
    timestep: Array,
    *,
    interval: int | Array = 50,
    stride: int = 200,
    guidance: float = 7.5,
    weight: Callable[[Array], Array] = sigma_squared,
) -> Array:
    """Interval score matching (Liang et al. 2024, "LucidDreamer", its algorithm).

    grad = w(t) (eps(x_t; t, guided) - eps(x_s; s, uncond)), s = t - interval. x_s and x_t are not x_0 with
    noise but its unconditional DDIM inversion, 0 -> stride -> 2 stride -> ... -> s -> t, each step by the
    prediction at its start: x_to = cos(D) x + sin(D) v(x, from). No noise is drawn.

    Where the interval is 0 only guidance is left: w(t) guidance (eps(cond) - eps(uncond)); without guidance
    (0) the gradient is 0.

    Args:
      velocity, bars, latents, timestep, weight: as for `sds`.
      interval: delta_T >= 0, timesteps between s and t; s is at least 0. May be traced.
      stride: delta_S, timesteps of an inversion step; static. A gradient costs s / stride + 3 evaluations.
      guidance: of the prediction at t.

    Returns:
      The gradient, like latents.
    """
    angles = jnp.asarray(schedule.angle(bars), latents.dtype)
    timestep = jnp.asarray(timestep)
    source = jnp.maximum(timestep - interval, 0)

    def turn(x: Array, v: Array, start: Array, end: Array) -> Array:
        return jnp.cos(end - start) * x + jnp.sin(end - start) * v

    def angle_at(time: Array) -> Array:
        return jnp.where(time > 0, angles[time], 0.0)  # x_0 itself is clean

    def advance(i: Array, x: Array) -> Array:
        start, end = i * stride, jnp.minimum((i + 1) * stride, source)
        return turn(x, velocity(x, start, 0.0), angle_at(start), angle_at(end))

    count = (source + stride - 1) // stride
    before = jax.lax.fori_loop(0, count, advance, latents)
    free = velocity(before, source, 0.0)
    at_source, at_end = angle_at(source), angle_at(timestep)
    after = turn(before, free, at_source, at_end)
    free_noise = jnp.sin(at_source) * before + jnp.cos(at_source) * free
    guided = velocity(after, timestep, guidance)
    guided_noise = jnp.sin(at_end) * after + jnp.cos(at_end) * guided
    return weight(_bar(bars, timestep)) * (guided_noise - free_noise)


def _bar(bars: np.ndarray, timestep: Array) -> Array:
    return jnp.asarray(bars)[timestep]


def _noise(velocity: Velocity, noisy: Array, timestep: Array, bar: Array, guidance: float) -> Array:
    return schedule.noise_of(noisy, velocity(noisy, timestep, guidance), bar)
