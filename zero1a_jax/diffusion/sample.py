"""Inversion and denoising of videos: guidance, context windows, DDIM loops.

The model is a function predict(latents [B, F, h, w, C], timestep, window) with B = 2 under guidance
(unconditional, conditional) and 1 otherwise; model.py makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.diffusion import schedule

Array = jax.Array


def windowed(predict: Callable, latents: Array, windows: np.ndarray, batch: int) -> Array:
    """Mean over context windows of the model's predictions.

    latents [T, h, w, C]; windows [W, F] frame indices; predict(latents [F, ...], index of the window)
    gives [batch, F, ...]. Returns [batch, T, h, w, C].
    """
    if len(windows) == 1:
        return predict(latents, 0)
    counts = np.bincount(windows.ravel(), minlength=len(latents)).astype(np.float32)
    indices = jnp.asarray(windows)

    def add(total: Array, window: Array) -> tuple[Array, None]:
        prediction = predict(latents[indices[window]], window)
        return total.at[:, indices[window]].add(prediction), None

    total = jnp.zeros((batch, *latents.shape), latents.dtype)
    total, _ = jax.lax.scan(add, total, jnp.arange(len(windows)))
    return total / counts[:, None, None, None]


def guided(predictions: Array, guidance: Array | float) -> Array:
    """v_uncond + s (v_cond - v_uncond) from predictions [2, ...]."""
    return predictions[0] + guidance * (predictions[1] - predictions[0])


def denoise(velocity: Callable, latents: Array, tables: schedule.Steps) -> Array:
    """Runs all steps from the noisy end. velocity(latents, timestep) -> like latents."""

    def body(x: Array, entry) -> tuple[Array, None]:
        timestep, cos, sin = entry
        return schedule.step(x, velocity(x, timestep), cos, sin), None

    return jax.lax.scan(body, latents, _arrays(tables, latents.dtype))[0]


def invert(velocity: Callable, latents: Array, tables: schedule.Steps, iterations: int) -> Array:
    """Undoes `denoise`: from the clean end to the noisy one, `iterations` evaluations a step."""

    def body(x: Array, entry) -> tuple[Array, None]:
        timestep, cos, sin = entry

        def iterate(_, noisy: Array) -> Array:
            return (x + sin * velocity(noisy, timestep)) / cos

        return jax.lax.fori_loop(0, iterations, iterate, x), None

    if iterations < 1:
        raise ValueError(f"iterations is {iterations}; give at least 1.")
    return jax.lax.scan(body, latents, _arrays(tables, latents.dtype), reverse=True)[0]


def _arrays(tables: schedule.Steps, dtype: Any):
    """The tables in at least float32; in float64 where the latents are."""
    dtype = jnp.promote_types(dtype, jnp.float32)
    times = jnp.asarray(tables.timesteps, jnp.int32)
    return times, jnp.asarray(tables.cos, dtype), jnp.asarray(tables.sin, dtype)
