"""Front-to-back compositing and its gradient as Pallas kernels: NVIDIA from Hopper on, and TPU.

Same contract as blend_xla, tiles of another size. The mathematics (blend_steps) and the walk along a
tile's list are written once; a staging decides where pixels live and how parameters come:

- Mosaic GPU: 16x16 pixels a tile, one warpgroup of 128 threads, a sum over pixels is a warpgroup's.
- Mosaic TPU: 32x32 pixels a tile, which as (8, 128) fill one vector register; sums over pixels of eight
  entries are one matrix product with ones.

Before the kernel the table is gathered by the lists and cut into chunks of one tile each, in the tile's own
coordinates, so that a chunk is one copy; while one is worked on, the next is on its way. No atomics: the
gradient comes back as one row a list entry, which XLA adds up. Chunks behind an early exit are neither
visited nor written; the kernel says how many it visited, and the rest is never read.

What the tests check without such a device: both stagings against blend_xla in jax's interpreters, which
simulate the copies and their barriers, and that both lower for their devices. Compiled once ahead of time
with jax 0.10.2, also without one: for TPU v5e and v6e by libtpu, for sm_90a by ptxas, without spilling.
They have never run on one: speed is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.experimental.pallas import tpu as pltpu

from zero1a_jax.rasterizer.blend_steps import row_gradient, step_backward, step_forward
from zero1a_jax.rasterizer.blend_xla import MIN_TRANSMITTANCE, Images
from zero1a_jax.rasterizer.table import ABSENT, SHAPE_FIELDS, Column
from zero1a_jax.rasterizer.tiles import Grid, Lists

LINE = 128  # floats a line of a chunk, which holds whole entries: a TPU register's lanes


class Plan(NamedTuple):
    """How the kernels are staged. Static."""

    target: str  # "gpu" or "tpu"
    tile: int  # pixels, a power of two
    shape: tuple[int, int]  # a tile's pixels, row by row, as the device holds them
    lines: int = 8  # of a chunk
    interpret: Any = False  # what pallas_call takes: True, or an interpreter's parameters


GPU = Plan("gpu", 16, (16, 16))
TPU = Plan("tpu", 32, (8, 128))
INTERPRETED = TPU._replace(interpret=True)


class _Chunks(NamedTuple):
    """The lists, copied out of the table in chunks that belong to one tile each."""

    rows: jax.Array  # [K, lines, LINE] entries of `width` floats, in their tile's coordinates
    first: jax.Array  # [T + 1] each tile's first chunk
    owner: jax.Array  # [K, entries] the entry's row in the table, [M] where there is none
    tile: jax.Array  # [K]
    place: jax.Array  # [K] which of its tile's chunks it is


def _width(fields: int) -> int:
    """Floats an entry: a power of two, so that lines and 16-byte copies hold whole ones."""
    if not SHAPE_FIELDS < fields <= LINE:
        raise ValueError(
            f"The table has {fields} columns; Pallas takes {SHAPE_FIELDS + 1} to {LINE}, {SHAPE_FIELDS} and "
            f"values. Colour and depth leave room for {LINE - len(Column)} features; 'xla' has no limit."
        )
    return max(8, 1 << (fields - 1).bit_length())


def _pack(table: jax.Array, lists: Lists, origins: jax.Array, plan: Plan) -> _Chunks:
    """Gathers the table by the lists. Static shapes: as many chunks as the lists can need at most."""
    size, fields = table.shape
    width = _width(fields)
    length = plan.lines * LINE // width
    tiles = lists.counts.shape[0]
    ends = jnp.cumsum(-(-lists.counts // length), dtype=jnp.int32)
    first = jnp.concatenate([jnp.zeros(1, jnp.int32), ends])
    chunk = jnp.arange(lists.ids.shape[0] // length + tiles, dtype=jnp.int32)
    tile = jnp.minimum(jnp.searchsorted(ends, chunk, side="right").astype(jnp.int32), tiles - 1)
    place = chunk - first[tile]
    at = (place * length)[:, None] + jnp.arange(length, dtype=jnp.int32)
    ids = lists.ids.at[lists.starts[tile][:, None] + at].get(mode="clip")
    owner = jnp.where(at < lists.counts[tile][:, None], ids, size)
    padded = jnp.pad(table.astype(jnp.float32), ((0, 1), (0, width - fields)))
    padded = padded.at[size, Column.LOG_OPACITY].set(ABSENT)
    rows = padded.at[owner].get(mode="promise_in_bounds")
    rows = rows - jnp.pad(origins.astype(jnp.float32)[tile], ((0, 0), (0, width - origins.shape[1])))[:, None]
    return _Chunks(rows.reshape(-1, plan.lines, LINE), first, owner, tile, place)


def _pixels(plan: Plan) -> tuple[jax.Array, jax.Array]:
    """x and y of a tile's pixel centres."""
    index = lax.broadcasted_iota(jnp.int32, plan.shape, 1)
    index = index + lax.broadcasted_iota(jnp.int32, plan.shape, 0) * plan.shape[1]
    shift = plan.tile.bit_length() - 1
    return (index & (plan.tile - 1)).astype(jnp.float32) + 0.5, (index >> shift).astype(jnp.float32) + 0.5


class _Stage(NamedTuple):
    """What a kernel's body needs to know of the device it runs on."""

    first: jax.Array  # the tile's chunks: first..stop-1
    stop: jax.Array
    last: int  # the last chunk of all
    slots: Any  # [2, lines, LINE], room for two chunks, read as scalars
    fetch: Callable[[Any, Any], None]  # fetch(chunk, slot) sends a chunk on its way
    wait: Callable[[Any], None]  # wait(slot) until it is there


def _walk(stage: _Stage, advance: Callable, carry: tuple) -> tuple[jax.Array, tuple]:
    """Runs carry = advance(chunk, slot, carry) until all pixels are opaque; carry[0] is the transmittance.

    Returns how many chunks were visited, and the carry.
    """

    def unfinished(state):
        return (state[0] < stage.stop) & (state[1] > MIN_TRANSMITTANCE)

    def step(state):
        at, _, *carry = state
        stage.fetch(jnp.minimum(at + 1, stage.last), (at + 1) & 1)
        stage.wait(at & 1)
        carry = advance(at, at & 1, tuple(carry))
        return (at + 1, jnp.max(carry[0]), *carry)

    # Whatever ends the loop, one more chunk is on its way than was used, and its arrival is awaited.
    stage.fetch(jnp.minimum(stage.first, stage.last), stage.first & 1)
    at, _, *final = lax.while_loop(unfinished, step, (stage.first, jnp.float32(1), *carry))
    stage.wait(at & 1)
    return at - stage.first, tuple(final)


def _entries(slots: Any, slot: jax.Array, line: jax.Array, fields: int) -> Iterator[list[jax.Array]]:
    """The entries of a line, as scalars."""
    for column in range(0, LINE, _width(fields)):
        yield [slots[slot, line, column + field] for field in range(fields)]


def _forward_tile(stage: _Stage, plan: Plan, fields: int) -> tuple[jax.Array, ...]:
    """The sums of one tile."""
    x, y = _pixels(plan)

    def advance(_, slot, carry):
        def draw(line, carry):
            transmittance, sums = carry[0], carry[1:]
            for entry in _entries(stage.slots, slot, line, fields):
                transmittance, sums = step_forward(entry, x, y, transmittance, sums)
            return (transmittance, *sums)

        return lax.fori_loop(0, plan.lines, draw, carry)

    zero = jnp.zeros(plan.shape, jnp.float32)
    carry = (zero + 1, *(zero for _ in range(fields - SHAPE_FIELDS + 1)))
    return _walk(stage, advance, carry)[1][1:]


class _Rows(NamedTuple):
    """How a device writes the gradient's rows."""

    put: Callable[[Any, Any, int, Any], None]  # put(chunk, line, column, array): its sum goes there
    end_line: Callable[[Any], None]
    end_chunk: Callable[[Any], None]


def _backward_tile(stage: _Stage, plan: Plan, fields: int, pixels: list[jax.Array], out: _Rows) -> jax.Array:
    """Writes one tile's rows of the gradient. `pixels`: cotangents and remaining. Returns chunks visited."""
    x, y = _pixels(plan)
    *cotangents, remaining = pixels

    def advance(at, slot, carry):
        def pull(line, carry):
            transmittance, remaining = carry
            for i, entry in enumerate(_entries(stage.slots, slot, line, fields)):
                transmittance, remaining, terms = step_backward(
                    entry, x, y, transmittance, remaining, cotangents
                )
                for field, term in enumerate(terms):
                    out.put(at, line, i * _width(fields) + field, term)
            out.end_line(line)
            return transmittance, remaining

        carry = lax.fori_loop(0, plan.lines, pull, carry)
        out.end_chunk(at)
        return carry

    return _walk(stage, advance, (jnp.ones(plan.shape, jnp.float32), remaining))[0]


def _gpu_kernel(body: Callable, out: Any, chunks: _Chunks, plan: Plan) -> Callable:
    """A Mosaic GPU kernel, one warpgroup a tile. body(tile, stage, *inputs, *outputs)."""

    def kernel(first, rows, *others):
        *others, slots, arrived = others
        tile = lax.axis_index("tile")

        def fetch(chunk, slot):
            plgpu.commit_smem()  # every warp has read what lay in the slot before the copy overwrites it
            plgpu.copy_gmem_to_smem(rows.at[chunk], slots.at[slot], arrived.at[slot])

        def wait(slot):
            plgpu.barrier_wait(arrived.at[slot])

        body(tile, _Stage(first[tile], first[tile + 1], rows.shape[0] - 1, slots, fetch, wait), *others)

    return plgpu.kernel(
        kernel,
        out_type=out,
        grid=(chunks.first.shape[0] - 1,),
        grid_names=("tile",),
        scratch_types=[plgpu.SMEM((2, plan.lines, LINE), jnp.float32), plgpu.Barrier(num_barriers=2)],
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        interpret=plan.interpret or None,
    )


def _forward_gpu(chunks: _Chunks, fields: int, plan: Plan) -> jax.Array:
    def body(tile, stage, out):
        for channel, total in enumerate(_forward_tile(stage, plan, fields)):
            out[tile, channel] = total

    tiles = chunks.first.shape[0] - 1
    out = jax.ShapeDtypeStruct((tiles, fields - SHAPE_FIELDS + 1, *plan.shape), jnp.float32)
    return _gpu_kernel(body, out, chunks, plan)(chunks.first, chunks.rows)


def _backward_gpu(chunks: _Chunks, pixels: jax.Array, fields: int, plan: Plan) -> tuple[jax.Array, jax.Array]:
    def body(tile, stage, pixels, gradient, visited):
        def put(chunk, line, column, term):
            gradient[chunk, line, column] = jnp.sum(term)

        rows = _Rows(put, lambda line: None, lambda chunk: None)
        given = [pixels[tile, channel] for channel in range(pixels.shape[1])]
        visited[tile] = _backward_tile(stage, plan, fields, given, rows)

    tiles = jax.ShapeDtypeStruct((chunks.first.shape[0] - 1,), jnp.int32)
    out = (jax.ShapeDtypeStruct(chunks.rows.shape, jnp.float32), tiles)
    return _gpu_kernel(body, out, chunks, plan)(chunks.first, chunks.rows, pixels)


def _tpu_stage(first: Any, rows: Any, slots: Any, arrived: Any) -> _Stage:
    def copy(chunk, slot):
        return pltpu.make_async_copy(rows.at[chunk], slots.at[slot], arrived.at[slot])

    tile = pl.program_id(0)
    return _Stage(
        first[tile],
        first[tile + 1],
        rows.shape[0] - 1,
        slots,
        lambda chunk, slot: copy(chunk, slot).start(),
        lambda slot: copy(0, slot).wait(),
    )


def _tpu_scratch(plan: Plan) -> list:
    return [pltpu.SMEM((2, plan.lines, LINE), jnp.float32), pltpu.SemaphoreType.DMA((2,))]


def _tile_block(channels: int, plan: Plan) -> pl.BlockSpec:
    return pl.BlockSpec((1, channels, *plan.shape), lambda tile, *_: (tile, 0, 0, 0))


def _forward_tpu(chunks: _Chunks, fields: int, plan: Plan) -> jax.Array:
    def body(first, rows, out, slots, arrived):
        for channel, total in enumerate(_forward_tile(_tpu_stage(first, rows, slots, arrived), plan, fields)):
            out[0, channel] = total

    tiles, channels = chunks.first.shape[0] - 1, fields - SHAPE_FIELDS + 1
    return pl.pallas_call(
        body,
        out_shape=jax.ShapeDtypeStruct((tiles, channels, *plan.shape), jnp.float32),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(tiles,),
            in_specs=[pl.BlockSpec(memory_space=pl.ANY)],
            out_specs=_tile_block(channels, plan),
            scratch_shapes=_tpu_scratch(plan),
        ),
        interpret=plan.interpret,
    )(chunks.first, chunks.rows)


def _backward_tpu(chunks: _Chunks, pixels: jax.Array, fields: int, plan: Plan) -> tuple[jax.Array, jax.Array]:
    def body(first, rows, pixels, gradient, visited, slots, arrived, terms, chunk_rows, sent):
        def put(_chunk, _line, column, term):
            terms[pl.ds(column, 1)] = jnp.sum(term, 0, keepdims=True)

        def end_line(line):
            # Sums over lanes, of every row at once and already side by side as a line of the gradient.
            ones = jnp.ones((8, LINE), jnp.float32)
            contract = (((1,), (1,)), ((), ()))
            sums = lax.dot_general(ones, terms[...], contract, precision=lax.Precision.HIGHEST)
            chunk_rows[pl.ds(line, 1)] = sums[:1]

        def end_chunk(chunk):
            copy = pltpu.make_async_copy(chunk_rows, gradient.at[chunk], sent)
            copy.start()
            copy.wait()

        stage = _tpu_stage(first, rows, slots, arrived)
        given = [pixels[0, channel] for channel in range(pixels.shape[1])]
        count = _backward_tile(stage, plan, fields, given, _Rows(put, end_line, end_chunk))
        visited[pl.program_id(0)] = count

    tiles = chunks.first.shape[0] - 1
    vectors = [pltpu.VMEM((LINE, LINE), jnp.float32), pltpu.VMEM((plan.lines, LINE), jnp.float32)]
    anywhere = pl.BlockSpec(memory_space=pl.ANY)
    return pl.pallas_call(
        body,
        out_shape=(
            jax.ShapeDtypeStruct(chunks.rows.shape, jnp.float32),
            jax.ShapeDtypeStruct((tiles,), jnp.int32),
        ),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(tiles,),
            in_specs=[anywhere, _tile_block(pixels.shape[1], plan)],
            out_specs=(anywhere, pl.BlockSpec(memory_space=pltpu.SMEM)),
            scratch_shapes=[*_tpu_scratch(plan), *vectors, pltpu.SemaphoreType.DMA],
        ),
        interpret=plan.interpret,
    )(chunks.first, chunks.rows, pixels)


def _origins(lists: Lists, grid: Grid) -> jax.Array:
    """[T, 2] pixels, of the tiles of one or several images."""
    return jnp.tile(grid.origins(), (lists.counts.shape[0] // grid.tiles, 1))


def _to_images(tiles: jax.Array, grid: Grid, widths: Sequence[int]) -> Images:
    """[T, C, pixels] to images [H, W, width], several one below the other."""
    side = grid.tile
    sides = (-1, grid.columns, tiles.shape[1], side, side)
    image = tiles.reshape(sides).transpose(0, 3, 1, 4, 2).reshape(-1, grid.columns * side, tiles.shape[1])
    ends = np.cumsum(widths)
    return tuple(image[..., end - width : end] for width, end in zip(widths, ends, strict=True))


def _to_tiles(images: Images, grid: Grid) -> jax.Array:
    """The opposite."""
    image = jnp.concatenate(images, -1)
    channels, side = image.shape[-1], grid.tile
    tiles = image.reshape(-1, side, grid.columns, side, channels).transpose(0, 2, 4, 1, 3)
    return tiles.reshape(-1, channels, side * side)


def forward(table: jax.Array, lists: Lists, grid: Grid, widths: Sequence[int], plan: Plan) -> Images:
    """Composites images with tiles of plan.tile by plan.tile pixels; see blend_xla.forward."""
    chunks = _pack(table, lists, _origins(lists, grid), plan)
    composite = _forward_gpu if plan.target == "gpu" else _forward_tpu
    sums = composite(chunks, table.shape[1], plan)
    return _to_images(sums.reshape(*sums.shape[:2], -1).astype(table.dtype), grid, (*widths, 1))


def backward(
    table: jax.Array, lists: Lists, grid: Grid, remaining: jax.Array, cotangents: Images, plan: Plan
) -> jax.Array:
    """The gradient of `forward` with respect to the table, [M, 6 + C]; see blend_xla.backward."""
    size, fields = table.shape
    chunks = _pack(table, lists, _origins(lists, grid), plan)
    pixels = _to_tiles((*cotangents, remaining), grid).astype(jnp.float32)
    pixels = pixels.reshape(*pixels.shape[:2], *plan.shape)
    pull = _backward_gpu if plan.target == "gpu" else _backward_tpu
    rows, visited = pull(chunks, pixels, fields, plan)
    rows = rows.reshape(*chunks.owner.shape, -1)[..., :fields]
    # What was not visited holds anything: it goes to a row of its own, with the entries of no list.
    owner = jnp.where((chunks.place < visited[chunks.tile])[:, None], chunks.owner, size)
    sums = jnp.zeros((size + 1, fields), jnp.float32).at[owner].add(rows, mode="promise_in_bounds")
    return row_gradient(table, sums[:size].astype(table.dtype))
