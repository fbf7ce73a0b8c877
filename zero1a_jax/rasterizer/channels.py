"""Arithmetic along an image's few channels, spelled out: as reductions, a CPU takes six times as long."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp


def sum_of_products(a: jax.Array, b: jax.Array) -> jax.Array:
    """Sum over the last axis of a * b, which is kept: [..., C], [..., C] to [..., 1]."""
    channels = a.shape[-1]
    if channels > 4:
        return jnp.sum(a * b, -1, keepdims=True)
    products = (a[..., c : c + 1] * b[..., c : c + 1] for c in range(channels))
    return functools.reduce(jnp.add, products)


@jax.custom_vjp
def over(rgb: jax.Array, alpha: jax.Array, background: jax.Array) -> jax.Array:
    """rgb + (1 - alpha) background: [*B, H, W, 3], [*B, H, W, 1] and [*B, 1, 1, 3], all of one rank."""
    return rgb + (1 - alpha) * background


def _over_forward(rgb, alpha, background):
    return over(rgb, alpha, background), (alpha, background)


def _over_backward(saved, cotangent):
    alpha, background = saved
    by_background = jnp.sum((1 - alpha) * cotangent, (-3, -2), keepdims=True)
    return cotangent, -sum_of_products(cotangent, background), by_background


over.defvjp(_over_forward, _over_backward)
