"""One Gaussian on the pixels of a tile, and the gradient of that: the mathematics of the Pallas kernels.

Pure functions of scalars and arrays of pixels of any shape, so that every device's kernel, and an
interpreter, can run the same ones. The order of operations is blend_xla's, the constants are everyone's.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.rasterizer.table import FACTOR, SHAPE_FIELDS, Column

# Of every kernel, as in gsplat.
MIN_ALPHA = 1 / 255  # fainter contributions are skipped
MAX_ALPHA = 0.99
MIN_TRANSMITTANCE = 1e-4  # the Gaussian that would reach it is not drawn


def _alpha(entry, x, y):
    """Alpha before it is clipped, and what its gradient needs: dx, dy, u, v."""
    dx, dy = x - entry[Column.X], y - entry[Column.Y]
    u = entry[Column.L00] * dx + entry[Column.L01] * dy
    v = entry[Column.L11] * dy
    return jnp.exp(entry[Column.LOG_OPACITY] - (u * u + v * v)), dx, dy, u, v


def _weigh(raw, transmittance):
    """Clipped alpha, weight, and the transmittance behind.

    The transmittance goes on falling behind the last Gaussian that is drawn, so that nothing follows.
    """
    alpha = jnp.where(raw >= MIN_ALPHA, jnp.minimum(raw, MAX_ALPHA), 0.0)
    after = transmittance * (1 - alpha)
    return alpha, jnp.where(after > MIN_TRANSMITTANCE, alpha * transmittance, 0.0), after


def step_forward(
    entry: list[jax.Array], x: jax.Array, y: jax.Array, transmittance: jax.Array, sums: tuple[jax.Array, ...]
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Draws one Gaussian on the pixels of a tile.

    Args: entry, 6 + C scalars of its row of the table; x, y pixel centres, transmittance so far and 1 + C
    sums of weight times values and 1, all arrays of one shape. Returns transmittance and sums behind it.
    """
    raw, *_ = _alpha(entry, x, y)
    _, weight, transmittance = _weigh(raw, transmittance)
    *values, alpha = sums
    drawn = (total + weight * value for total, value in zip(values, entry[SHAPE_FIELDS:], strict=True))
    return transmittance, (*drawn, alpha + weight)


def step_backward(
    entry: list[jax.Array],
    x: jax.Array,
    y: jax.Array,
    transmittance: jax.Array,
    remaining: jax.Array,
    cotangents: list[jax.Array],
) -> tuple[jax.Array, jax.Array, tuple[jax.Array, ...]]:
    """The gradient of `step_forward`, front to back as well.

    Args: as there; remaining: what the pixel still receives, weight times (cotangent . values), summed from
    this Gaussian on; cotangents of the C values and of alpha. Returns transmittance, remaining, and 6 + C
    arrays whose sums over all pixels `row_gradient` turns into the gradient of the row.
    """
    raw, dx, dy, u, v = _alpha(entry, x, y)
    alpha, weight, transmittance = _weigh(raw, transmittance)
    *by_value, gain = cotangents
    for value, cotangent in zip(entry[SHAPE_FIELDS:], by_value, strict=True):
        gain = gain + value * cotangent
    own = weight * gain
    remaining = remaining - own
    drawn = (weight > 0) & (raw <= MAX_ALPHA)
    slope = jnp.where(drawn, alpha / (1 - alpha) * remaining - own, 0.0)  # by the falloff u*u + v*v
    by_u, by_v = slope * u, slope * v
    shape = (by_u, by_v, by_u * dx, by_u * dy, by_v * dy, slope)
    return transmittance, remaining, (*shape, *(weight * cotangent for cotangent in by_value))


def row_gradient(table: jax.Array, sums: jax.Array) -> jax.Array:
    """The gradient of each row of the table from its sums over pixels and tiles, both [M, 6 + C]."""
    l00, l01, l11 = table.T[FACTOR]
    u, v, u_dx, u_dy, v_dy, slope = sums.T[:SHAPE_FIELDS]
    mean = [-2 * l00 * u, -2 * (l01 * u + l11 * v)]
    return jnp.stack([*mean, 2 * u_dx, 2 * u_dy, 2 * v_dy, -slope, *sums.T[SHAPE_FIELDS:]], 1)
