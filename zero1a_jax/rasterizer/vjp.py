"""Differentiable compositing: custom_vjp over a kernel's forward and backward, cameras folded into tiles.

vmap of a while loop steps until its slowest member is done and copies what the others carry. Tiles are
independent, so a batch is folded into the tile axis instead: it then costs what a loop costs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import logging
from jax.custom_batching import custom_vmap

from zero1a_jax.rasterizer import blend_pallas, blend_xla
from zero1a_jax.rasterizer.tiles import TILE, Lists

IMPLEMENTATIONS = ("auto", "xla", "pallas")

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


def _pallas_plan() -> blend_pallas.Plan | None:
    """How this process's default device runs the Pallas kernels; None where it cannot."""
    backend = jax.default_backend()
    if backend in ("cpu", "tpu"):
        return blend_pallas.INTERPRETED if backend == "cpu" else blend_pallas.TPU
    # An AMD device's capability reads gfx942, and others have none.
    major = str(getattr(jax.local_devices()[0], "compute_capability", "")).partition(".")[0]
    return blend_pallas.GPU if major.isdigit() and int(major) >= 9 else None


@functools.cache  # the choice is logged once
def _choose(implementation: str) -> blend_pallas.Plan | None:
    """The plan of the Pallas kernels, or None for blend_xla."""
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"implementation {implementation!r} is unknown; use one of {IMPLEMENTATIONS}.")
    chosen = None if implementation == "xla" else _pallas_plan()
    if implementation == "pallas" and chosen is None:
        raise ValueError(
            "implementation 'pallas' needs a TPU, an NVIDIA GPU of compute capability 9.0 or newer, or a CPU "
            f"(interpreted); the default device is {jax.local_devices()[0].device_kind}. Use 'auto' or 'xla'."
        )
    if implementation == "auto":
        chosen = None if chosen == blend_pallas.INTERPRETED else chosen
        name = f"Pallas kernels for {chosen.target.upper()}" if chosen else "jax.numpy (XLA)"
        logging.info("Rasterizer on %s: %s.", jax.default_backend(), name)
    return chosen


@functools.cache
def _differentiable(implementation: str, absolute: bool) -> Callable:
    chosen = _choose(implementation)
    if chosen and absolute:
        raise ValueError("absolute_gradient needs implementation 'xla': the Pallas kernels do not sum it.")

    def forward_kernel(table, lists, origins):
        if chosen:
            return blend_pallas.forward(table, lists, origins, chosen)
        return blend_xla.forward(table, lists, origins, blend_xla.plan(origins.shape[0]))

    def backward_kernel(table, lists, origins, output, cotangent):
        if chosen:
            return blend_pallas.backward(table, lists, origins, output, cotangent, chosen)
        plan = blend_xla.plan(origins.shape[0])
        return blend_xla.backward(table, lists, origins, output, cotangent, plan, absolute=absolute)

    forward, backward = _foldable(forward_kernel), _foldable(backward_kernel)
    composite = jax.custom_vjp(lambda table, absolute, lists, origins: forward(table, lists, origins))

    def save(table, _, lists, origins):
        output = forward(table, lists, origins)
        return output, (table, lists, origins, output)

    def pull(saved, cotangent):
        gradient = backward(*saved, cotangent)
        if absolute:
            return gradient[:, :-2], gradient[:, -2:], None, None
        return gradient, None, None, None

    composite.defvjp(save, pull)
    return composite


def tile_size(implementation: str) -> int:
    """Pixels a side of the tiles that this implementation composites; raises where it cannot run."""
    chosen = _choose(implementation)
    return chosen.tile if chosen else TILE


def composite(
    table: jax.Array,
    lists: Lists,
    origins: jax.Array,
    absolute: jax.Array | None = None,
    *,
    implementation: str,
) -> jax.Array:
    """Composites tiles; differentiable in the table.

    Args: table [M, 6 + C], see blend_xla.forward; lists of T tiles of `tile_size(implementation)`; origins
    [T, 2] pixels; absolute [M, 2], whose value is not used, and whose gradient is the sum over pixels of
    the absolute gradient of the table's x and y (it costs only where it is given); implementation "xla",
    "pallas" or "auto", which takes Pallas where the default device compiles it.
    Returns [T, C + 1, pixels of a tile].
    """
    return _differentiable(implementation, absolute is not None)(table, absolute, lists, origins)


def inspect_tiles(table: jax.Array, lists: Lists, origins: jax.Array, _absolute: None = None) -> jax.Array:
    """See blend_xla.inspect, [T, 2, pixels of a small tile]. Runs anywhere; no gradient."""
    return _inspect(*jax.tree.map(jax.lax.stop_gradient, (table, lists, origins)))


_inspect = _foldable(
    lambda table, lists, origins: blend_xla.inspect(table, lists, origins, blend_xla.plan(origins.shape[0]))
)
