"""Differentiable compositing: custom_vjp over a kernel's forward and backward, cameras folded into tiles.

vmap of a while loop steps until its slowest member is done and copies what the others carry. Tiles are
independent, so a batch is folded into the tile axis instead: it then costs what a loop costs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from zero1a_jax.rasterizer import blend_xla
from zero1a_jax.rasterizer.tiles import Lists

_MAX_FOLDED = 4096  # tiles; beyond, a CPU pays for fresh memory more than it gains, and batches are cut


def _foldable(kernel: Callable) -> Callable:
    """kernel(table, lists, origins, *per_tile) with a vmap rule that concatenates tables and tiles.

    The first result axis must be the tiles' or the table's.
    """
    folded = custom_vmap(kernel)

    @folded.def_vmap
    def rule(size, batched, table, lists, origins, *per_tile):
        def spread(flag, value):
            return value if flag else jnp.broadcast_to(value, (size, *value.shape))

        table, lists, origins, *per_tile = jax.tree.map(
            spread, batched, [table, lists, origins, *per_tile], is_leaf=lambda x: isinstance(x, bool)
        )
        chunk = max(1, _MAX_FOLDED // origins.shape[1])
        if size > chunk and jax.default_backend() == "cpu":
            members = (table, lists, origins, *per_tile)
            several = None if chunk == 1 else chunk
            return jax.lax.map(lambda member: folded(*member), members, batch_size=several), True
        which = jnp.arange(size, dtype=jnp.int32)[:, None]
        ids = lists.ids + which * table.shape[1]
        starts = lists.starts + which * ids.shape[1]

        def join(value):
            return value.reshape(-1, *value.shape[2:])

        joined = Lists(join(ids), join(starts), join(lists.counts))
        result = folded(join(table), joined, join(origins), *map(join, per_tile))
        return result.reshape(size, -1, *result.shape[1:]), True

    return folded


@functools.cache
def _xla() -> Callable:
    def forward_kernel(table, lists, origins):
        return blend_xla.forward(table, lists, origins, blend_xla.plan(origins.shape[0]))

    def backward_kernel(table, lists, origins, output, cotangent):
        return blend_xla.backward(table, lists, origins, output, cotangent, blend_xla.plan(origins.shape[0]))

    forward, backward = _foldable(forward_kernel), _foldable(backward_kernel)
    composite = jax.custom_vjp(forward)

    def save(table, lists, origins):
        output = forward(table, lists, origins)
        return output, (table, lists, origins, output)

    def pull(saved, cotangent):
        return backward(*saved, cotangent), None, None

    composite.defvjp(save, pull)
    return composite


def composite(table: jax.Array, lists: Lists, origins: jax.Array, implementation: str) -> jax.Array:
    """Composites tiles; differentiable in the table.

    Args: table [M, blend_xla.FIELDS]; lists of T tiles; origins [T, 2] pixels; implementation "xla".
    Returns [T, blend_xla.CHANNELS, blend_xla.PIXELS].
    """
    if implementation != "xla":
        raise ValueError(f"implementation {implementation!r} is unknown; use 'auto' or 'xla'.")
    return _xla()(table, lists, origins)
