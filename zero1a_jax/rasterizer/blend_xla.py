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
    """How the loops are cut. Static."""

    lanes: int  # tiles a block
    forward: int  # list entries a step of the forward pass
    backward: int  # and of the backward pass


def plan(tiles: int) -> Plan:
    """Blocks for this many tiles: narrow enough for a CPU's cache, everything at once elsewhere."""
    if jax.default_backend() != "cpu":
        return Plan(lanes=tiles, forward=16, backward=4)
    return Plan(lanes=min(64, tiles), forward=4, backward=2)


class _Blocks(NamedTuple):
    tile: jax.Array  # [G, B] index of the tile, 0 in the padding
    starts: jax.Array  # [G, B]
    counts: jax.Array  # [G, B], falling along the lanes; 0 in the padding
    x: jax.Array  # [G, B] origins
    y: jax.Array


def _blocks(lists: Lists, origins: jax.Array, lanes: int) -> tuple[_Blocks, jax.Array]:
    """Sorts tiles by falling count. Returns the blocks and [T], where in them each tile went."""
    tiles = lists.counts.shape[0]
    bits = max(1, (tiles - 1).bit_length())
    # Count and index share an integer; counts beyond its room are equally long for this purpose.
    rest = np.uint32((1 << (32 - bits)) - 1)
    key = (rest - jnp.minimum(lists.counts.astype(jnp.uint32), rest)) << bits
    order = lax.sort(key | jnp.arange(tiles, dtype=jnp.uint32), is_stable=False)
    order = (order & np.uint32((1 << bits) - 1)).astype(jnp.int32)
    groups = -(-tiles // lanes)
    padding = groups * lanes - tiles
    padded = jnp.pad(order, (0, padding))
    counts = jnp.pad(lists.counts[order], (0, padding))
    place = jnp.zeros(tiles, jnp.int32).at[order].set(jnp.arange(tiles, dtype=jnp.int32))
    columns = (padded, lists.starts[padded], counts, origins[padded, 0], origins[padded, 1])
    return _Blocks(*(column.reshape(groups, lanes) for column in columns)), place


def _with_absent(table: jax.Array) -> jax.Array:
    """The table with one more row, invisible, for the entries past a list's end."""
    return jnp.concatenate([table, jnp.zeros((1, FIELDS), table.dtype).at[0, 5].set(_ABSENT)])


def _fetch(table, ids, block, step, unroll):
    """Entries step..step+unroll-1 of every lane [FIELDS, unroll, B] and their rows in the table."""
    at = step + jnp.arange(unroll, dtype=jnp.int32)[:, None]
    owner = ids.at[jnp.minimum(block.starts + at, ids.shape[0] - 1)].get(mode="promise_in_bounds")
    owner = jnp.where(at < block.counts, owner, table.shape[0] - 1)
    return jnp.moveaxis(table.at[owner].get(mode="promise_in_bounds"), -1, 0).reshape(-1), owner


def _alpha(fields, block):
    """The alpha of entries [U, B] on the block's pixels before it is clipped, [U, PIXELS, B]."""
    x, y, l00, l01, l11, log_opacity = (field[:, None] for field in fields[:6])
    dy = _Y - (y - block.y)
    u = l00 * (_X - (x - block.x)) + l01 * dy
    v = l11 * dy
    return jnp.exp(log_opacity - (u * u + v * v))


def _weights(raw, transmittance):
    """Alphas and weights of the entries, in lists, and the transmittance behind them.

    The transmittance goes on falling behind the last Gaussian that is drawn, so that nothing follows.
    """
    alpha = jnp.where(raw >= MIN_ALPHA, jnp.minimum(raw, MAX_ALPHA), 0.0)
    weights = []
    for entry in alpha:
        after = transmittance * (1 - entry)
        weights.append(jnp.where(after > MIN_TRANSMITTANCE, entry * transmittance, 0.0))
        transmittance = after
    return alpha, weights, transmittance


def _walk(table, ids, block, unroll, carry, advance):
    """Runs advance(carry, fields, owner) -> (carry, transmittance) along the lists of a block."""

    def unfinished(state):
        return state[1]

    def step(state):
        at, _, carry, fetched = state
        carry, transmittance = advance(carry, fetched[0].reshape(FIELDS, unroll, -1), fetched[1])
        going_on = jnp.max(jnp.where(at + unroll < block.counts, transmittance, 0.0)) > MIN_TRANSMITTANCE
        # The next parameters travel in the loop's state: fetched within the step, they would be fetched
        # again for every array that uses them.
        following = _fetch(table, ids, block, at + unroll, unroll)
        return at + unroll, going_on, carry, following

    start = (jnp.int32(0), block.counts[0] > 0, carry, _fetch(table, ids, block, 0, unroll))
    return lax.while_loop(unfinished, step, start)[2]


def forward(table: jax.Array, lists: Lists, origins: jax.Array, plan: Plan) -> jax.Array:
    """Composites tiles.

    Args: table [M, FIELDS]; lists over T tiles, ids index the table; origins [T, 2] pixels.
    Returns [T, CHANNELS, PIXELS]: sums of weight times red, green, blue, depth and 1.
    """
    blocks, place = _blocks(lists, origins, plan.lanes)
    table = _with_absent(table)
    shape = (PIXELS, plan.lanes)

    def through(_, block):
        def advance(carry, fields, owner):
            transmittance, sums = carry
            _, weights, transmittance = _weights(_alpha(fields, block), transmittance)
            channels = [sum(w * v for w, v in zip(weights, value, strict=True)) for value in fields[6:]]
            # One array for all channels: every separate one would cost a pass over the tiles.
            return (transmittance, sums + jnp.stack([*channels, sum(weights)])), transmittance

        carry = (jnp.ones(shape, table.dtype), jnp.zeros((CHANNELS, *shape), table.dtype))
        return None, _walk(table, lists.ids, block, plan.forward, carry, advance)[1]

    _, sums = lax.scan(through, None, blocks)  # [G, CHANNELS, PIXELS, B]
    return jnp.moveaxis(sums, 3, 1).reshape(-1, CHANNELS, PIXELS)[place]


def _polynomials() -> np.ndarray:
    """[6, PIXELS]: 1, x, y, xx, xy, yy of the pixels about the tile's middle."""
    x, y = _X[:, 0] - TILE / 2, _Y[:, 0] - TILE / 2
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _about(x, y, moments):
    """Moves moments (1, x, y, xx, xy, yy) to another centre."""
    s, sx, sy, sxx, sxy, syy = moments
    return [
        s,
        sx - x * s,
        sy - y * s,
        sxx - x * (2 * sx - x * s),
        sxy - x * sy - y * (sx - x * s),
        syy - y * (2 * sy - y * s),
    ]


def _from_moments(table: jax.Array, sums: jax.Array) -> jax.Array:
    """Gradients of the fields from moments of dL/dsigma about each mean and sums of weights, [M, FIELDS]."""
    l00, l01, l11 = table.T[2:5]
    s, sx, sy, sxx, sxy, syy = sums.T[:6]
    su, sv = l00 * sx + l01 * sy, l11 * sy
    shape = [2 * (l00 * sxx + l01 * sxy), 2 * (l00 * sxy + l01 * syy), 2 * l11 * syy]
    return jnp.stack([-2 * l00 * su, -2 * (l01 * su + l11 * sv), *shape, -s, *sums.T[6:]], 1)


def backward(
    table: jax.Array, lists: Lists, origins: jax.Array, output: jax.Array, cotangent: jax.Array, plan: Plan
) -> jax.Array:
    """The gradient of `forward` with respect to the table, [M, FIELDS].

    Front to back: with sigma the exponent, h = weight * (cotangent . values) and R the sum of h over what
    lies behind, dL/dsigma = alpha / (1 - alpha) R - h. Sums over pixels are matrix products.
    """
    blocks, _ = _blocks(lists, origins, plan.lanes)
    pixels = cotangent.reshape(-1, CHANNELS * PIXELS)
    remaining = jnp.sum(output * cotangent, 1)
    polynomials, ones = jnp.asarray(_polynomials(), table.dtype), jnp.ones((1, TILE), table.dtype)
    padded, lanes, unroll = _with_absent(table), plan.lanes, plan.backward

    def row(pixels, i):
        return pixels[i * TILE : (i + 1) * TILE]

    def through(gradient, block):
        *values, by_alpha = pixels[block.tile].T.reshape(CHANNELS, PIXELS, lanes)
        by_value = jnp.stack(values, 1)  # [PIXELS, 4, B]

        def advance(carry, fields, owner):
            transmittance, remaining, gradient = carry
            raw = _alpha(fields, block)
            alpha, weights, transmittance = _weights(raw, transmittance)
            gains = [by_alpha + sum(fields[6 + c][u] * values[c] for c in range(4)) for u in range(unroll)]
            own = [w * gain for w, gain in zip(weights, gains, strict=True)]
            own = jnp.stack(own)
            slopes = []
            for u in range(unroll):
                remaining = remaining - own[u]
                slope = alpha[u] / (1 - alpha[u]) * remaining - own[u]
                slopes.append(jnp.where((weights[u] > 0) & (raw[u] <= MAX_ALPHA), slope, 0.0))
            moments = (polynomials @ jnp.concatenate(slopes, 1)).reshape(6, unroll, lanes)
            # Rows of the tile are added up as they are made, so that a dot sees an eighth of the products.
            shares = [sum(row(w, i)[:, None] * row(by_value, i) for i in range(TILE)) for w in weights]
            shares = (ones @ jnp.concatenate(shares, 1).reshape(TILE, -1)).reshape(unroll, -1, lanes)
            moments = _about(fields[0] - block.x - TILE / 2, fields[1] - block.y - TILE / 2, moments)
            rows = jnp.stack([*moments, *jnp.moveaxis(shares, 1, 0)], -1).reshape(-1, FIELDS)
            gradient = gradient.at[owner.reshape(-1)].add(rows, mode="promise_in_bounds")
            return (transmittance, remaining, gradient), transmittance

        carry = (jnp.ones((PIXELS, lanes), table.dtype), remaining[block.tile].T, gradient)
        return _walk(padded, lists.ids, block, unroll, carry, advance)[2], None

    sums, _ = lax.scan(through, jnp.zeros_like(padded), blocks)
    return _from_moments(table, sums[:-1])
