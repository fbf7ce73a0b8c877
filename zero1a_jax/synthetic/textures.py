"""Cheap procedural noise: no hashing, no table, a few multiplications a wave."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from zero1a_jax.types import Array


def smooth(t: Array) -> Array:
    """Smoothstep of t clipped to 0..1."""
    t = jnp.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def sine(turns: Array) -> Array:
    """About sin(2 pi turns), from parabolas: several times cheaper than a sine."""
    t = turns - jnp.floor(turns) - 0.5
    return -8 * t * (1 - 2 * jnp.abs(t))


_MIX = np.array(
    [
        [0.71, 0.39, -0.58],
        [-0.46, 0.83, 0.31],
        [0.27, -0.52, 0.81],
        [-0.63, -0.35, -0.69],
        [0.12, 0.95, -0.28],
    ]
) * np.array([[1.0], [1.23], [1.51], [1.87], [2.31]])


def noise(points: Array) -> Array:
    """Smooth noise in about -1..1 of points [..., 3] in wavelengths; each wave bends the next."""
    total, bend = jnp.zeros(()), jnp.zeros(())
    for k, row in enumerate(_MIX):
        phase = points[..., 0] * row[0] + points[..., 1] * row[1] + points[..., 2] * row[2]
        wave = sine(phase + 0.37 * k + 0.35 * bend)
        total, bend = total + wave, wave
    return 0.45 * total
