"""Which Gaussians touch which tiles, in depth order, with static shapes.

Slots (one Gaussian on one tile) are emitted from the nearest Gaussian to the farthest into a table of
`capacity` rows; what does not fit is the farthest, and is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import sequential_vmap

from zero1a_jax.rasterizer.project import Extent, Splats
from zero1a_jax.rasterizer.table import Column

TILE = 8  # pixels, on a CPU; 16 evaluates 18 times as many pairs as contribute
_EMPTY = np.uint32(0xFFFFFFFF)


class Grid(NamedTuple):
    """An image cut into tiles, row by row. Static."""

    height: int
    width: int
    tile: int = TILE  # pixels; kernels for other devices want larger ones

    @property
    def rows(self) -> int:
        """How many tiles high."""
        return -(-self.height // self.tile)

    @property
    def columns(self) -> int:
        """How many tiles wide."""
        return -(-self.width // self.tile)

    @property
    def tiles(self) -> int:
        """How many tiles in all."""
        return self.rows * self.columns

    def origins(self) -> np.ndarray:
        """[tiles, 2] float32, the pixel coordinates (x, y) of each tile's upper left corner."""
        index = np.arange(self.tiles)
        return (np.stack([index % self.columns, index // self.columns], 1) * self.tile).astype(np.float32)


class Boxes(NamedTuple):
    """The rectangle of tiles that a Gaussian can touch."""

    left: jax.Array  # [N] int32, in tiles
    top: jax.Array
    columns: jax.Array
    rows: jax.Array
    reach: jax.Array  # [N] float32: the falloff's exponent at which alpha is 1/255

    @property
    def visible(self) -> jax.Array:
        """[N] bool: whether any pixel can be touched."""
        return (self.columns > 0) & (self.rows > 0)


class Lists(NamedTuple):
    """Per tile, a run of `ids` from near to far."""

    ids: jax.Array  # [capacity] int32
    starts: jax.Array  # [tiles] int32
    counts: jax.Array  # [tiles] int32


def boxes(splats: Splats, extent: Extent, grid: Grid) -> Boxes:
    """Bounds each Gaussian by where its alpha reaches 1/255, which depends on its opacity."""
    reach = splats.log_opacity + np.float32(np.log(255.0))
    touched = jnp.maximum(reach, 0.0) * 2.0

    def span(middle: jax.Array, variance: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        half = jnp.sqrt(touched * variance)
        # Pixel centres lie at +0.5; clip before the cast, which is undefined beyond int32.
        low = jnp.clip(jnp.ceil(middle - half - 0.5), 0, size).astype(jnp.int32)
        high = jnp.clip(jnp.floor(middle + half + 0.5), 0, size).astype(jnp.int32)
        first = low // grid.tile
        return first, jnp.where(high > low, -(-high // grid.tile) - first, 0)

    left, columns = span(splats.x, extent.variance_x, grid.width)
    top, rows = span(splats.y, extent.variance_y, grid.height)
    visible = extent.drawn & (reach > 0) & (columns > 0) & (rows > 0)
    return Boxes(left, top, jnp.where(visible, columns, 0), jnp.where(visible, rows, 0), reach)


def count(box: Boxes, grid: Grid) -> jax.Array:
    """How many slots the boxes need, exactly, [] int32; saturates at 2^31 - 1."""
    needed = box.columns * box.rows
    if needed.shape[0] * grid.tiles < 2**31:
        return jnp.sum(needed)
    exact = jnp.sum(needed)
    return jnp.where(jnp.sum(needed.astype(jnp.float32)) < 2.0**31 - 2.0**8, exact, np.int32(2**31 - 1))


def _bits(size: int) -> int:
    return max(1, int(size - 1).bit_length())


def depth_order(depth: jax.Array, visible: jax.Array) -> jax.Array:
    """Indices from near to far, ties by index, the invisible last, [N] int32."""
    # Positive floats order like their bits.
    key = lax.bitcast_convert_type(jnp.where(visible, depth, jnp.inf), jnp.uint32)
    index = jnp.arange(depth.shape[0], dtype=jnp.uint32)
    if jax.default_backend() != "cpu":
        return lax.sort((key, index), num_keys=1, is_stable=True)[1].astype(jnp.int32)
    # On a CPU a sort with a separate payload is four times slower: key and index share one integer. None are
    # equal, but XLA's stable sort of these is the faster one.
    with jax.enable_x64(True):
        pair = lax.bitcast_convert_type(jnp.stack([index, key], 1), jnp.uint64)
        pair = lax.bitcast_convert_type(lax.sort(pair, is_stable=True), jnp.uint32)
    return pair[:, 0].astype(jnp.int32)


def _cumsum(values: jax.Array, block: int = 512) -> jax.Array:
    """Cumulative sum in columns of `block`, several times faster than jnp.cumsum on a CPU."""
    size = values.shape[0]
    columns = -(-size // block)
    table = jnp.pad(values, (0, columns * block - size)).reshape(columns, block).T
    totals, sums = lax.scan(lambda c, row: (c + row, c + row), jnp.zeros_like(table[0]), table)
    return (sums.T + (jnp.cumsum(totals) - totals)[:, None]).reshape(-1)[:size]


def _starts(needed: jax.Array, capacity: int, tiles: int) -> jax.Array:
    """Exclusive cumulative sum; anything at or past the capacity may be any value past it."""
    if needed.shape[0] * tiles < 2**31:
        return jnp.cumsum(needed) - needed
    return lax.scan(lambda c, n: (jnp.minimum(c + n, capacity), c), jnp.zeros((), jnp.int32), needed)[1]


def _reaches(ellipse: Sequence[jax.Array], left: jax.Array, top: jax.Array, tile: int) -> jax.Array:
    """Whether the ellipse of alpha 1/255 meets the tile's rectangle of pixel centres, per slot."""
    x, y, l00, l01, l11, reach = ellipse
    near_x, near_y = left + 0.5 - x, top + 0.5 - y
    far_x, far_y = near_x + (tile - 1), near_y + (tile - 1)
    inside = (near_x <= 0) & (far_x >= 0) & (near_y <= 0) & (far_y >= 0)
    # Outside, the minimum lies on the nearer vertical or the nearer horizontal edge.
    edge_x = jnp.where(jnp.abs(near_x) < jnp.abs(far_x), near_x, far_x)
    edge_y = jnp.where(jnp.abs(near_y) < jnp.abs(far_y), near_y, far_y)
    at_y = jnp.clip(-l00 * l01 * edge_x / (l01 * l01 + l11 * l11), near_y, far_y)
    at_x = jnp.clip(-l01 * edge_y / l00, near_x, far_x)

    def falloff(dx: jax.Array, dy: jax.Array) -> jax.Array:
        return (l00 * dx + l01 * dy) ** 2 + (l11 * dy) ** 2

    nearest = jnp.minimum(falloff(edge_x, at_y), falloff(at_x, edge_y))
    return inside | (nearest <= reach + 1e-3)


def tile_lists(splats: Splats, box: Boxes, grid: Grid, capacity: int) -> tuple[Lists, jax.Array]:
    """Fills the tiles' lists. Returns them and the overflow, [] int32: how many slots did not fit."""

    def build(splats: Splats, box: Boxes) -> tuple[Lists, jax.Array]:
        order = depth_order(splats.depth, box.visible)
        start = _starts((box.columns * box.rows)[order], capacity, grid.tiles)
        total = count(box, grid)

        def fill(size: int) -> tuple[jax.Array, jax.Array]:
            ids, edges = _fill(splats, box, grid, order, start, total, size)
            return jnp.pad(ids, (0, capacity - size)), edges

        if on_cpu and capacity >= 4096:  # a generous capacity shall not cost more than it must
            sizes = [capacity * eighths // 8 for eighths in (2, 4, 5, 6, 8)]
            wanted = jnp.sum(total > jnp.array(sizes[:-1]))
            ids, edges = lax.switch(wanted, [lambda size=size: fill(size) for size in sizes])
        else:
            ids, edges = fill(capacity)
        return Lists(ids, edges[:-1], edges[1:] - edges[:-1]), jnp.maximum(total - capacity, 0)

    on_cpu = jax.default_backend() == "cpu"
    # One camera after the other: under vmap a branch would run both sides.
    return (sequential_vmap(build) if on_cpu else build)(splats, box)


def _fill(
    splats: Splats,
    box: Boxes,
    grid: Grid,
    order: jax.Array,
    start: jax.Array,
    total: jax.Array,
    capacity: int,
) -> tuple[jax.Array, jax.Array]:
    """The first `capacity` of `total` slots, sorted: ids [capacity] and the tiles' edges [tiles + 1]."""
    # Which Gaussian a slot belongs to: ones where each begins, summed. Empty ones share the next start.
    rank = _cumsum(jnp.zeros(capacity, jnp.int32).at[start].add(1, mode="drop")) - 1
    integers = jnp.stack([box.left, box.top, jnp.maximum(box.columns, 1)], 1)
    numbers = jnp.stack([*splats[: Column.LOG_OPACITY], box.reach], 1)  # the ellipse
    # Brought into the slots' order first, the parameters are read one after the other.
    table = jnp.concatenate([integers, lax.bitcast_convert_type(numbers, jnp.int32)], 1)[order]
    left, top, columns, *ellipse, first = _spread(jnp.concatenate([table, start[:, None]], 1), rank)
    slot = jnp.arange(capacity, dtype=jnp.int32)
    # Of unsigned integers, so that none asks which way to round.
    row = lax.div((slot - first).astype(jnp.uint32), columns.astype(jnp.uint32)).astype(jnp.int32)
    column, row = left + slot - first - row * columns, top + row
    left, top = (column * grid.tile).astype(jnp.float32), (row * grid.tile).astype(jnp.float32)
    ellipse = [lax.bitcast_convert_type(number, jnp.float32) for number in ellipse]
    keep = (slot < total) & _reaches(ellipse, left, top, grid.tile)
    tile = jnp.where(keep, row * grid.columns + column, grid.tiles)
    return _sort_by_tile(tile, rank, order, grid.tiles)


def _spread(table: jax.Array, rank: jax.Array) -> list[jax.Array]:
    """The columns of table[rank], column by column; a rank outside takes the nearest row."""
    size, columns = table.shape
    place = jnp.clip(rank, 0, size - 1).astype(jnp.uint32) * np.uint32(columns)
    # Kept, or what follows would look every column up where it uses it, and could not be vectorised.
    place, flat = lax.optimization_barrier((place, table.reshape(-1)))
    found = [flat.at[place + np.uint32(k)].get(mode="promise_in_bounds") for k in range(columns)]
    return lax.optimization_barrier(found)


def _sort_by_tile(
    tile: jax.Array, rank: jax.Array, order: jax.Array, tiles: int
) -> tuple[jax.Array, jax.Array]:
    """Sorts slots, which arrive in depth order, by tile (`tiles`: none). Returns ids, [tiles + 1] edges."""
    rank_bits = _bits(order.shape[0])
    if rank_bits + _bits(tiles + 1) > 32:  # one integer cannot hold both: a stable sort with a payload
        tile, rank = lax.sort((tile, rank), num_keys=1, is_stable=True)
        edges = jnp.searchsorted(tile, jnp.arange(tiles + 1, dtype=jnp.int32)).astype(jnp.int32)
        return order.at[rank].get(mode="clip"), edges
    key = (tile.astype(jnp.uint32) << rank_bits) | rank.astype(jnp.uint32)
    key = lax.sort(jnp.where(tile == tiles, _EMPTY, key), is_stable=False)
    ids = order.at[(key & np.uint32((1 << rank_bits) - 1)).astype(jnp.int32)].get(mode="clip")
    first = np.arange(tiles + 1, dtype=np.uint32) << np.uint32(rank_bits)
    return ids, jnp.searchsorted(key, first).astype(jnp.int32)
