"""Front-to-back compositing and its gradient in jax.numpy; defines what every other kernel must return.

Tiles are lanes: a block of tiles advances in lockstep through its lists, pixels along the major axis,
and stops when all its tiles are opaque or through. Tiles are sorted by the length of their lists, so
that a block's tiles finish together. Nothing is stored for the backward pass: it runs front to back as
well, carrying the transmittance and what the pixel will still receive.

Each block reads and writes its part of the images itself, eight pixels a piece: rearranging whole images
costs more than the compositing of a small scene. Several cameras are one image, one below the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zero1a_jax.rasterizer.blend_steps import MAX_ALPHA, MIN_ALPHA, MIN_TRANSMITTANCE
from zero1a_jax.rasterizer.table import ABSENT, FACTOR, SHAPE_FIELDS, Column
from zero1a_jax.rasterizer.tiles import TILE, Grid, Lists

PIXELS = TILE * TILE
_X = (np.arange(PIXELS) % TILE + 0.5).astype(np.float32)[:, None]
_Y = (np.arange(PIXELS) // TILE + 0.5).astype(np.float32)[:, None]

Images = tuple[jax.Array, ...]


class Plan(NamedTuple):
    """How the loops are cut. Static."""

    lanes: int  # tiles a block
    forward: int  # list entries a step of the forward pass
    backward: int  # and of the backward pass


def plan(tiles: int, grid: Grid) -> Plan:
    """Blocks for this many tiles of one or several images: all at once, but on a CPU what its cache holds.

    And narrower for small images: a block runs until its longest list is through, and at 128 pixels a head's
    longest list is four times as long as the 64th (wider blocks cost twice the time there, narrower ones a
    fifth more at 512 pixels).
    """
    if jax.default_backend() != "cpu":
        return Plan(lanes=tiles, forward=16, backward=4)
    return Plan(lanes=min(tiles, max(16, min(64, grid.tiles // 32))), forward=4, backward=4)


class _Blocks(NamedTuple):
    tile: jax.Array  # [G, B] index of the tile; T, which is none, in the padding
    starts: jax.Array  # [G, B]
    counts: jax.Array  # [G, B], falling along the lanes of a camera; 0 in the padding
    x: jax.Array  # [G, B] origins
    y: jax.Array


def _blocks(lists: Lists, grid: Grid, lanes: int) -> _Blocks:
    """Sorts the tiles, camera by camera, by falling count, and cuts them into blocks."""
    tiles = lists.counts.shape[0]
    if tiles % grid.tiles:
        raise ValueError(f"{tiles} lists are no multiple of the {grid.tiles} tiles of an image.")
    bits, cameras = max(1, (tiles - 1).bit_length()), tiles // grid.tiles
    # Camera, count and index share an integer; counts beyond their room are equally long for this purpose, as
    # are those of as many steps: their tiles stay side by side, and so do their Gaussians in the cache.
    rest = np.uint32((1 << max(0, 32 - bits - (cameras - 1).bit_length())) - 1)
    index = np.arange(tiles, dtype=np.uint32)
    camera = (index // grid.tiles) * (rest + 1)
    key = (camera + rest - jnp.minimum((lists.counts.astype(jnp.uint32) + 3) // 4, rest)) << bits
    order = lax.sort(jnp.asarray(key | index), is_stable=False)
    order = (order & np.uint32((1 << bits) - 1)).astype(jnp.int32)
    padding = -tiles % lanes
    column, row = order % grid.columns, order % grid.tiles // grid.columns
    x, y = (TILE * side.astype(jnp.float32) for side in (column, row))
    blocks = (order, lists.starts[order], lists.counts[order], x, y)
    empty = (tiles, 0, 0, 0, 0)
    padded = (jnp.pad(v, (0, padding), constant_values=e) for v, e in zip(blocks, empty, strict=True))
    return _Blocks(*(value.reshape(-1, lanes) for value in padded))


def _places(block: _Blocks, grid: Grid) -> jax.Array:
    """Where the block's tiles are in images that are cut into pieces of TILE pixels, [B * TILE]."""
    row, column = block.tile // grid.columns, block.tile % grid.columns
    lines = TILE * row[:, None] + np.arange(TILE, dtype=np.int32)
    return (lines * grid.columns + column[:, None]).reshape(-1)


def _put(image: jax.Array, places: jax.Array, values: jax.Array) -> jax.Array:
    """Sets the places of image [pieces, TILE * C] to values [C, PIXELS, B]."""
    values = values.reshape(-1, TILE, TILE, values.shape[-1]).transpose(3, 1, 2, 0)
    pieces = values.reshape(-1, image.shape[1])
    # The padding's places lie past the end.
    return image.at[places].set(pieces, mode="drop", unique_indices=True)


def _take(image: jax.Array, places: jax.Array) -> jax.Array:
    """The opposite of `_put` for an image [H, W, C], [C, PIXELS, B]; anything in the padding."""
    channels = image.shape[-1]
    pieces = image.reshape(-1, TILE * channels).at[places].get(mode="clip")
    pieces = pieces.reshape(-1, TILE, TILE, channels).transpose(3, 1, 2, 0)
    return pieces.reshape(channels, PIXELS, -1)


def _draw(
    lists: Lists, grid: Grid, widths: Sequence[int], plan: Plan, dtype: Any, composite: Callable
) -> Images:
    """Images of these widths from composite(block), which returns [sum of widths, PIXELS, B]."""
    ends = np.cumsum(widths)

    def through(images: Images, block: _Blocks) -> tuple[Images, None]:
        found, places = composite(block), _places(block, grid)
        parts = (found[end - width : end] for width, end in zip(widths, ends, strict=True))
        return tuple(_put(image, places, part) for image, part in zip(images, parts, strict=True)), None

    pieces = lists.counts.shape[0] * TILE
    images = tuple(jnp.zeros((pieces, TILE * width), dtype) for width in widths)
    images, _ = lax.scan(through, images, _blocks(lists, grid, plan.lanes))
    return tuple(image.reshape(-1, grid.columns * TILE, w) for image, w in zip(images, widths, strict=True))


def _fetch(table, ids, block, step, unroll):
    """Entries step..step+unroll-1 of every lane: their rows of the table, [unroll * B, 6 + C], and which.

    Past a list's end it is any row.
    """
    at = step + jnp.arange(unroll, dtype=jnp.int32)[:, None]
    place = jnp.minimum(block.starts + at, ids.shape[0] - 1).reshape(-1)
    # Unsigned: a signed index could be negative, which costs a comparison.
    owner = ids.at[place.astype(jnp.uint32)].get(mode="promise_in_bounds")
    return table.at[owner.astype(jnp.uint32)].get(mode="promise_in_bounds"), owner


def _columns(rows, block, step):
    """Rows [U * B, 6 + C] of `_fetch` turned on their side, [6 + C, U, B].

    x and y count from the tile's corner then, and what lies past a list's end is invisible.
    """
    fields = rows.T.reshape(rows.shape[1], -1, block.x.shape[0])
    which = np.arange(rows.shape[1])[:, None, None]
    corner = jnp.where(which == Column.X, block.x, jnp.where(which == Column.Y, block.y, 0.0))
    past = step + jnp.arange(fields.shape[1], dtype=jnp.int32)[:, None] >= block.counts
    return jnp.where((which == Column.LOG_OPACITY) & past, ABSENT, fields - corner)


_FAINTEST = np.float32(-np.log(MIN_ALPHA))  # the exponent at which alpha is MIN_ALPHA
_LEAST = np.float32(1 / MAX_ALPHA)
_CLIPPED = 1 / _LEAST  # MAX_ALPHA as `_alpha` returns it
# A polynomial for exp(x / 4) from 0 to _FAINTEST; its fourth power is exp(x), to 1e-6 of it in float32.
_SERIES = np.polynomial.Chebyshev.interpolate(lambda x: np.exp(x / 4), 7, [0, _FAINTEST])
_ROOT = _SERIES.convert(kind=np.polynomial.Polynomial).coef.astype(np.float32)


def _uv(fields):
    """u and v of entries [U, B] on their tiles' pixels, [U, PIXELS, B], and their log opacity."""
    x, y, l00, l01, l11, log_opacity = (field[:, None] for field in fields[:SHAPE_FIELDS])
    dy = _Y - y
    u = l00 * (_X - x) + l01 * dy
    v = l11 * dy
    return u, v, log_opacity


def _alpha(fields):
    """The alpha of entries [U, B] on their tiles' pixels, [U, PIXELS, B], clipped, 0 where it is too faint.

    That is exp(log_opacity - u*u - v*v) by a polynomial, in half the time of XLA's exp. And as a quotient:
    XLA keeps what it divided, but would compute cheaper operations anew wherever alpha is used.
    """
    u, v, log_opacity = _uv(fields)
    x = u * u + v * v - log_opacity
    root = functools.reduce(lambda total, factor: total * x + factor, _ROOT[-2::-1], _ROOT[-1])
    square = root * root
    inverse = jnp.maximum(square * square, _LEAST)
    return 1 / jnp.where(x <= _FAINTEST, inverse, np.inf)


def _weights(alpha, transmittance):
    """The weights of entries of these alphas, [U, PIXELS, B], and the transmittance behind them.

    The transmittance goes on falling behind the last Gaussian that is drawn, so that nothing follows.
    """
    weights = []
    for entry in alpha:
        after = transmittance * (1 - entry)
        weights.append(jnp.where(after > MIN_TRANSMITTANCE, entry * transmittance, 0.0))
        transmittance = after
    # Kept, or every channel would compute them again.
    return lax.optimization_barrier(jnp.stack(weights)), transmittance


def _walk(table, ids, block, unroll, carry, advance):
    """Runs advance(carry, fields, owner) -> (carry, transmittance) along the lists of a block."""

    def unfinished(state):
        return state[1]

    def step(state):
        at, _, carry, (fields, owner), (rows, following) = state
        carry, transmittance = advance(carry, fields, owner)
        open_still = jnp.where(at + unroll < block.counts, transmittance, 0.0)
        # Line by line: XLA cuts a long reduction into windows, which costs a tenth of the pass.
        going_on = jnp.max(functools.reduce(jnp.maximum, open_still)) > MIN_TRANSMITTANCE
        # What comes next travels in the loop's state: fetched within the step, it would be fetched again for
        # every array that uses it. Rows, and a step later their columns: a gather of rows that is turned on
        # its side at once would find its row anew for every number, which takes five times as long.
        later = _fetch(table, ids, block, at + 2 * unroll, unroll)
        return at + unroll, going_on, carry, (_columns(rows, block, at + unroll), following), later

    rows, owner = _fetch(table, ids, block, 0, unroll)
    ahead = _fetch(table, ids, block, unroll, unroll)
    start = (jnp.int32(0), jnp.max(block.counts) > 0, carry, (_columns(rows, block, 0), owner), ahead)
    return lax.while_loop(unfinished, step, start)[2]


def forward(table: jax.Array, lists: Lists, grid: Grid, widths: Sequence[int], plan: Plan) -> Images:
    """Composites images.

    Args: table [M, 6 + C], see `table.Column`: six of shape and C values; lists over the tiles of one or
    several images, ids index the table; grid: one image, of tiles of TILE pixels; widths: how many of the
    values each image takes, C together. Returns an image for each width and one of width 1, [H, W, width]
    (several: one below the other, H and W multiples of TILE): sums of weight times each value, and of weight.
    """
    shape, channels = (PIXELS, plan.lanes), table.shape[1] - SHAPE_FIELDS + 1

    def composite(block):
        def advance(carry, fields, owner):
            transmittance, sums = carry
            weights, transmittance = _weights(_alpha(fields), transmittance)
            values = fields[SHAPE_FIELDS:]
            drawn = [sum(w * v for w, v in zip(weights, value, strict=True)) for value in values]
            # One array for all channels: every separate one would cost a pass over the tiles.
            return (transmittance, sums + jnp.stack([*drawn, sum(weights)])), transmittance

        carry = (jnp.ones(shape, table.dtype), jnp.zeros((channels, *shape), table.dtype))
        return _walk(table, lists.ids, block, plan.forward, carry, advance)[1]

    return _draw(lists, grid, (*widths, 1), plan, table.dtype, composite)


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
    """Gradients of the fields from moments of dL/dsigma about each mean and sums of weights, [M, 6 + C]."""
    l00, l01, l11 = table.T[FACTOR]
    s, sx, sy, sxx, sxy, syy = sums.T[:SHAPE_FIELDS]
    su, sv = l00 * sx + l01 * sy, l11 * sy
    shape = [2 * (l00 * sxx + l01 * sxy), 2 * (l00 * sxy + l01 * syy), 2 * l11 * syy]
    return jnp.stack([-2 * l00 * su, -2 * (l01 * su + l11 * sv), *shape, -s, *sums.T[SHAPE_FIELDS:]], 1)


def _absolute(fields, slopes):
    """Sums over pixels of |dL/dx| and |dL/dy| of each entry, [U, B] each."""
    l00, l01, l11 = (field[:, None] for field in fields[FACTOR])
    u, v, _ = _uv(fields)
    slope = 2 * jnp.stack(slopes)
    by_x, by_y = slope * l00 * u, slope * (l01 * u + l11 * v)
    return [jnp.einsum("p,upb->ub", jnp.ones(PIXELS), jnp.abs(value)) for value in (by_x, by_y)]


def backward(
    table: jax.Array,
    lists: Lists,
    grid: Grid,
    remaining: jax.Array,
    cotangents: Images,
    plan: Plan,
    *,
    absolute: bool = False,
) -> jax.Array:
    """The gradient of `forward` with respect to the table, [M, 6 + C].

    remaining [H, W, 1] is the sum over all channels of the images times their cotangents. With `absolute`,
    [M, 6 + C + 2]: then the sums over pixels of |dL/dx| and |dL/dy| follow.

    Front to back: with sigma the exponent, h = weight * (cotangent . values) and R the sum of h over what
    lies behind, dL/dsigma = alpha / (1 - alpha) R - h. Sums over pixels are matrix products.
    """
    *by_values, by_alphas = cotangents
    polynomials, ones = jnp.asarray(_polynomials(), table.dtype), jnp.ones((1, TILE), table.dtype)
    lanes, unroll = plan.lanes, plan.backward

    def row(pixels, i):
        return pixels[i * TILE : (i + 1) * TILE]

    def through(gradient, block):
        places = _places(block, grid)
        by_alpha, behind = _take(by_alphas, places)[0], _take(remaining, places)[0]
        values = [value for image in by_values for value in _take(image, places)]
        by_value = jnp.stack(values, 1)  # [PIXELS, C, B]
        by_column = list(enumerate(values, SHAPE_FIELDS))

        def advance(carry, fields, owner):
            transmittance, remaining, gradient = carry
            alpha = _alpha(fields)
            weights, transmittance = _weights(alpha, transmittance)
            gains = [by_alpha + sum(fields[k][u] * v for k, v in by_column) for u in range(unroll)]
            own = [w * gain for w, gain in zip(weights, gains, strict=True)]
            own = lax.optimization_barrier(jnp.stack(own))  # kept, as the weights are
            slopes = []
            for u in range(unroll):
                remaining = remaining - own[u]
                slope = alpha[u] / (1 - alpha[u]) * remaining - own[u]
                slopes.append(jnp.where((weights[u] > 0) & (alpha[u] < _CLIPPED), slope, 0.0))
            moments = (polynomials @ jnp.concatenate(slopes, 1)).reshape(-1, unroll, lanes)
            # Rows of the tile are added up as they are made, so that a dot sees an eighth of the products.
            shares = [sum(row(w, i)[:, None] * row(by_value, i) for i in range(TILE)) for w in weights]
            shares = (ones @ jnp.concatenate(shares, 1).reshape(TILE, -1)).reshape(unroll, -1, lanes)
            moments = _about(fields[Column.X] - TILE / 2, fields[Column.Y] - TILE / 2, moments)
            sums = [*moments, *jnp.moveaxis(shares, 1, 0)]
            if absolute:
                sums += _absolute(fields, slopes)
            # Side by side before they are turned: one by one they would be turned number by number.
            rows = lax.optimization_barrier(jnp.stack(sums)).reshape(gradient.shape[1], -1).T
            gradient = gradient.at[owner].add(rows, mode="promise_in_bounds")
            return (transmittance, remaining, gradient), transmittance

        carry = (jnp.ones((PIXELS, lanes), table.dtype), behind, gradient)
        return _walk(table, lists.ids, block, unroll, carry, advance)[2], None

    zero = jnp.zeros((table.shape[0], table.shape[1] + 2 * absolute), table.dtype)
    sums, _ = lax.scan(through, zero, _blocks(lists, grid, lanes))
    return _from_moments(table, sums)


def inspect(table: jax.Array, lists: Lists, grid: Grid, plan: Plan) -> Images:
    """What is no sum of weights: the median depth and how many Gaussians were drawn, [H, W, 1] each.

    Arguments are those of `forward`, with a column of depth. The median depth is that of the Gaussian
    behind which the transmittance is 0.5 or less, 0 where it stays above.
    """
    shape = (PIXELS, plan.lanes)

    def composite(block):
        def advance(carry, fields, owner):
            transmittance, median, number = carry
            alpha = _alpha(fields)
            weights, behind = _weights(alpha, transmittance)
            for entry, weight, depth in zip(alpha, weights, fields[Column.DEPTH], strict=True):
                after = transmittance * (1 - entry)
                median = jnp.where((transmittance > 0.5) & (after <= 0.5), depth, median)
                number, transmittance = number + (weight > 0), after
            return (behind, median, number), behind

        carry = (jnp.ones(shape, table.dtype), *jnp.zeros((2, *shape), table.dtype))
        return jnp.stack(_walk(table, lists.ids, block, plan.forward, carry, advance)[1:])

    return _draw(lists, grid, (1, 1), plan, table.dtype, composite)
