"""Front-to-back compositing and its gradient in jax.numpy; defines what every other kernel must return.

Tiles are lanes: a block of tiles advances in lockstep through its lists, pixels along the major axis,
and stops when all its tiles are opaque or through. Tiles are sorted by the length of their lists, so
that a block's tiles finish together. Nothing is stored for the backward pass: it runs front to back as
well, carrying the transmittance and what the pixel will still receive.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zero1a_jax.rasterizer.tiles import TILE, Lists

MIN_ALPHA = 1 / 255  # fainter contributions are skipped
MAX_ALPHA = 0.99
MIN_TRANSMITTANCE = 1e-4  # the Gaussian that would reach it is not drawn
PIXELS = TILE * TILE
FIELDS = 10  # x, y, l00, l01, l11, log opacity, red, green, blue, depth
CHANNELS = 5  # red, green, blue, depth, alpha
_X = (np.arange(PIXELS) % TILE + 0.5).astype(np.float32)[:, None]
_Y = (np.arange(PIXELS) // TILE + 0.5).astype(np.float32)[:, None]
_ABSENT = np.float32(-1e4)  # log opacity past a list's end


class Plan(NamedTuple):
    """How the loop is cut. Static."""

    lanes: int  # tiles a block
    unroll: int  # list entries a step of the forward pass


def plan(tiles: int) -> Plan:
    """Blocks for this many tiles: narrow enough for a CPU's cache, everything at once elsewhere."""
    if jax.default_backend() != "cpu":
        return Plan(lanes=tiles, unroll=16)
    return Plan(lanes=min(64, tiles), unroll=8)


class _Blocks(NamedTuple):
    tile: jax.Array  # [G, B] index of the tile, 0 in the padding
    starts: jax.Array  # [G, B]
    counts: jax.Array  # [G, B], falling along the lanes; 0 in the padding
    x: jax.Array  # [G, B] origins
    y: jax.Array


def _blocks(lists: Lists, origins: jax.Array, lanes: int) -> tuple[_Blocks, jax.Array]:
    """Sorts tiles by falling count. Returns the blocks and [T], where in them each tile went."""
    tiles = lists.counts.shape[0]
    order = jnp.argsort(-lists.counts).astype(jnp.int32)
    groups = -(-tiles // lanes)
    padding = groups * lanes - tiles
    padded = jnp.pad(order, (0, padding))
    counts = jnp.pad(lists.counts[order], (0, padding))
    place = jnp.zeros(tiles, jnp.int32).at[order].set(jnp.arange(tiles, dtype=jnp.int32))
    columns = (padded, lists.starts[padded], counts, origins[padded, 0], origins[padded, 1])
    return _Blocks(*(column.reshape(groups, lanes) for column in columns)), place


def _fetch(table, ids, block, step, unroll):
    """Entries step..step+unroll-1 of every lane: FIELDS arrays [unroll, B], relative to the tile."""
    at = step + jnp.arange(unroll, dtype=jnp.int32)[:, None]
    present = at < block.counts
    owner = ids.at[jnp.where(present, block.starts + at, 0)].get(mode="promise_in_bounds")
    rows = table.at[owner].get(mode="promise_in_bounds")
    x, y, l00, l01, l11, log_opacity, *values = (rows[..., i] for i in range(FIELDS))
    log_opacity = jnp.where(present, log_opacity, _ABSENT)
    return (x - block.x, y - block.y, l00, l01, l11, log_opacity, *values), owner, present


def _alpha(x, y, l00, l01, l11, log_opacity):
    """Offsets' falloff as u, v and the unclipped alpha."""
    dy = _Y - y
    u = l00 * (_X - x) + l01 * dy
    v = l11 * dy
    return jnp.exp(log_opacity - (u * u + v * v))


def forward(table: jax.Array, lists: Lists, origins: jax.Array, plan: Plan) -> jax.Array:
    """Composites tiles.

    Args: table [M, FIELDS]; lists over T tiles, ids index the table; origins [T, 2] pixels.
    Returns [T, CHANNELS, PIXELS]: sums of weight times red, green, blue, depth and 1.
    """
    blocks, place = _blocks(lists, origins, plan.lanes)
    unroll, lanes = plan.unroll, plan.lanes

    def through(_, block):
        def unfinished(state):
            return (state[0] < block.counts[0]) & state[-1]

        def advance(state):
            step, transmittance, sums, fields, _ = state
            alpha = _alpha(*(f[:, None, :] for f in fields[:6]))
            alpha = jnp.where(alpha >= MIN_ALPHA, jnp.minimum(alpha, MAX_ALPHA), 0.0)
            sums = list(sums)
            for u in range(unroll):
                after = transmittance * (1 - alpha[u])
                drawn = after > MIN_TRANSMITTANCE
                weight = jnp.where(drawn, alpha[u] * transmittance, 0.0)
                transmittance = jnp.where(drawn, after, 0.0)
                for channel in range(4):
                    sums[channel] += weight * fields[6 + channel][u]
                sums[4] += weight
            # The next parameters travel in the loop's state: fetched inside, they would be fetched
            # again for every output that uses them.
            following = _fetch(table, ids, block, step + unroll, unroll)[0]
            return step + unroll, transmittance, tuple(sums), following, jnp.max(transmittance) > 0

        start = jnp.int32(0)
        first = _fetch(table, ids, block, start, unroll)[0]
        zero = jnp.zeros((PIXELS, lanes), table.dtype)
        state = lax.while_loop(
            unfinished, advance, (start, zero + 1, (zero,) * CHANNELS, first, jnp.bool_(True))
        )
        return None, jnp.stack(state[2])

    ids = lists.ids
    _, sums = lax.scan(through, None, blocks)  # [G, CHANNELS, PIXELS, B]
    return jnp.moveaxis(sums, 3, 1).reshape(-1, CHANNELS, PIXELS)[place]


def _moments() -> np.ndarray:
    """[6, PIXELS]: 1, x, y, xx, xy, yy of the pixels about the tile's middle."""
    x, y = _X[:, 0] - TILE / 2, _Y[:, 0] - TILE / 2
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _field_gradients(fields, sums, value_sums):
    """From moments of dL/dsigma about the tile's middle to gradients of the fields, [B, FIELDS]."""
    x, y, l00, l01, l11 = fields[:5]
    x, y = x - TILE / 2, y - TILE / 2
    s, sx, sy, sxx, sxy, syy = sums
    sxx, sxy, syy = sxx - 2 * x * sx + x * x * s, sxy - x * sy - y * sx + x * y * s, syy - 2 * y * sy + y * y * s
    sx, sy = sx - x * s, sy - y * s
    su, sv = l00 * sx + l01 * sy, l11 * sy
    return jnp.stack(
        [
            -2 * l00 * su,
            -2 * (l01 * su + l11 * sv),
            2 * (l00 * sxx + l01 * sxy),
            2 * (l00 * sxy + l01 * syy),
            2 * l11 * syy,
            -s,
            *value_sums,
        ],
        -1,
    )


def backward(
    table: jax.Array, lists: Lists, origins: jax.Array, output: jax.Array, cotangent: jax.Array, plan: Plan
) -> jax.Array:
    """The gradient of `forward` with respect to the table, [M, FIELDS].

    Front to back: with h = weight * (cotangent . values) and R the sum of h over what lies behind,
    dL/dsigma = alpha / (1 - alpha) R - h. Sums over pixels are one matrix product.
    """
    blocks, _ = _blocks(lists, origins, plan.lanes)
    remaining = jnp.sum(output * cotangent, 1, keepdims=True)
    pixels = jnp.concatenate([cotangent, remaining], 1).reshape(-1, (CHANNELS + 1) * PIXELS)
    moments, lanes, ids = jnp.asarray(_moments(), table.dtype), plan.lanes, lists.ids

    def through(gradient, block):
        values = pixels[block.tile].T.reshape(CHANNELS + 1, PIXELS, lanes)
        by_value = jnp.moveaxis(values[:4], 0, 1)

        def unfinished(state):
            return (state[0] < block.counts[0]) & state[-1]

        def advance(state):
            step, transmittance, remaining, gradient, (fields, owner, present), _ = state
            fields = [f[0] for f in fields]
            raw = _alpha(*fields[:6])
            alpha = jnp.where(raw >= MIN_ALPHA, jnp.minimum(raw, MAX_ALPHA), 0.0)
            after = transmittance * (1 - alpha)
            drawn = after > MIN_TRANSMITTANCE
            weight = jnp.where(drawn, alpha * transmittance, 0.0)
            own = weight * (sum(fields[6 + c] * values[c] for c in range(4)) + values[4])
            remaining = remaining - own
            slope = alpha / (1 - alpha) * remaining - own
            slope = jnp.where((weight > 0) & (raw <= MAX_ALPHA), slope, 0.0)
            stacked = jnp.concatenate([slope[:, None], weight[:, None] * by_value], 1)
            sums = (moments @ stacked.reshape(PIXELS, 5 * lanes)).reshape(6, 5, lanes)
            rows = _field_gradients(fields, sums[:, 0], sums[0, 1:])
            rows = jnp.where(present[0][:, None], rows, 0.0)
            gradient = gradient.at[owner[0]].add(rows, mode="promise_in_bounds")
            transmittance = jnp.where(drawn, after, 0.0)
            following = _fetch(table, ids, block, step + 1, 1)
            return step + 1, transmittance, remaining, gradient, following, jnp.max(transmittance) > 0

        start = jnp.int32(0)
        ones = jnp.ones((PIXELS, lanes), table.dtype)
        first = _fetch(table, ids, block, start, 1)
        state = (start, ones, values[5], gradient, first, jnp.bool_(True))
        return lax.while_loop(unfinished, advance, state)[3], None

    return lax.scan(through, jnp.zeros_like(table), blocks)[0]
