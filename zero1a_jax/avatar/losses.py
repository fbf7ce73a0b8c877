"""The two regularisers that keep Gaussians near their triangles.

Source: Qian et al., "GaussianAvatars", arXiv 2312.02069, equations 5 and 6; without their weights.
"""

from __future__ import annotations

import jax.numpy as jnp

from zero1a_jax.types import Array, Avatar


def _mean_visible(values: Array, avatar: Avatar, radii: Array) -> Array:
    """Mean [*B] of values [N] over living Gaussians with radius > 0; 0 where none is visible."""
    visible = (radii > 0) & avatar.alive
    total = jnp.sum(jnp.where(visible, values, 0.0), -1)
    return total / jnp.maximum(jnp.sum(visible, -1), 1)


def _length(vectors: Array) -> Array:
    """Euclidean norm of the last axis, with gradient 0 at 0."""
    squared = jnp.sum(vectors * vectors, -1)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def position_loss(avatar: Avatar, radii: Array, *, threshold: float = 1.0) -> Array:
    """Mean over visible Gaussians of relu(|local position| - threshold), [*B] for radii [*B, N].

    Positions and threshold are in triangle scales; `radii` are the rasterizer's, 0 where unseen.
    """
    excess = jnp.maximum(_length(avatar.gaussians.means) - threshold, 0.0)
    return _mean_visible(excess, avatar, radii)


def scale_loss(avatar: Avatar, radii: Array, *, threshold: float = 0.6) -> Array:
    """Mean over visible Gaussians of |relu(local scale - threshold)|_2, [*B] for radii [*B, N].

    Scales (standard deviations) and threshold are in triangle scales.
    """
    excess = jnp.maximum(jnp.exp(avatar.gaussians.log_scales) - threshold, 0.0)
    return _mean_visible(_length(excess), avatar, radii)
