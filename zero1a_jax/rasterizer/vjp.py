"""Differentiable compositing: custom_vjp over a kernel's forward and backward, cameras folded into tiles.

vmap of a while loop steps until its slowest member is done and copies what the others carry. Tiles are
independent, so a batch is folded into the tile axis instead, its images one below the other: it then costs
what a loop costs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import logging
from jax.custom_batching import custom_vmap

from zero1a_jax.rasterizer import blend_pallas, blend_xla
from zero1a_jax.rasterizer.blend_xla import Images
from zero1a_jax.rasterizer.channels import sum_of_products
from zero1a_jax.rasterizer.tiles import TILE, Grid, Lists

IMPLEMENTATIONS = ("auto", "xla", "pallas")


def _foldable(kernel: Callable) -> Callable:
    """kernel(table, lists, images) with a vmap rule that concatenates tables, tiles and images.

    The first axis of a result must be that of the table or of images.
    """
    folded = custom_vmap(kernel)

    @folded.def_vmap
    def rule(size, batched, *arguments):
        def spread(flag, value):
            return value if flag else jnp.broadcast_to(value, (size, *value.shape))

        def join(value):
            return value.reshape(-1, *value.shape[2:])

        table, lists, images = jax.tree.map(spread, batched, list(arguments))
        which = jnp.arange(size, dtype=jnp.int32)[:, None]
        ids = lists.ids + which * table.shape[1]
        starts = lists.starts + which * ids.shape[1]
        lists = Lists(join(ids), join(starts), join(lists.counts))
        result = folded(join(table), lists, jax.tree.map(join, images))
        separate = jax.tree.map(lambda value: value.reshape(size, -1, *value.shape[1:]), result)
        return separate, jax.tree.map(lambda _: True, separate)

    return folded


def pallas_plan() -> blend_pallas.Plan | None:
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
    chosen = None if implementation == "xla" else pallas_plan()
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


def _xla_plan(lists: Lists, grid: Grid) -> blend_xla.Plan:
    return blend_xla.plan(lists.counts.shape[0], grid)


@functools.cache
def _differentiable(implementation: str, grid: Grid, widths: tuple[int, ...], absolute: bool) -> Callable:
    chosen = _choose(implementation)
    if chosen and absolute:
        raise ValueError("absolute_gradient needs implementation 'xla': the Pallas kernels do not sum it.")

    def forward_kernel(table, lists, _):
        if chosen:
            return blend_pallas.forward(table, lists, grid, widths, chosen)
        return blend_xla.forward(table, lists, grid, widths, _xla_plan(lists, grid))

    def backward_kernel(table, lists, images):
        remaining, cotangents = images
        if chosen:
            return blend_pallas.backward(table, lists, grid, remaining, cotangents, chosen)
        plan = _xla_plan(lists, grid)
        return blend_xla.backward(table, lists, grid, remaining, cotangents, plan, absolute=absolute)

    forward, backward = _foldable(forward_kernel), _foldable(backward_kernel)
    composite = jax.custom_vjp(lambda table, absolute, lists: forward(table, lists, ()))

    def save(table, _, lists):
        images = forward(table, lists, ())
        return images, (table, lists, images)

    def pull(saved, cotangents):
        table, lists, images = saved
        remaining = sum(sum_of_products(i, c) for i, c in zip(images, cotangents, strict=True))
        gradient = backward(table, lists, (remaining, cotangents))
        if absolute:
            columns = table.shape[1]
            return gradient[:, :columns], gradient[:, columns:], None
        return gradient, None, None

    composite.defvjp(save, pull)
    return composite


def tile_size(implementation: str) -> int:
    """Pixels a side of the tiles that this implementation composites; raises where it cannot run."""
    chosen = _choose(implementation)
    return chosen.tile if chosen else TILE


def composite(
    table: jax.Array,
    lists: Lists,
    absolute: jax.Array | None = None,
    *,
    grid: Grid,
    widths: tuple[int, ...],
    implementation: str,
) -> Images:
    """Composites an image; differentiable in the table.

    Args: table [M, 6 + C], lists, grid and widths: see blend_xla.forward; the grid's tiles are of
    `tile_size(implementation)`; absolute [M, 2], whose value is not used, and whose gradient is the sum over
    pixels of the absolute gradient of the table's x and y (it costs only where it is given); implementation
    "xla", "pallas" or "auto", which takes Pallas where the default device compiles it.
    Returns images [H, W, width] for each of the widths, and alpha [H, W, 1]; H and W are multiples of a tile.
    """
    return _differentiable(implementation, grid, widths, absolute is not None)(table, absolute, lists)


def inspect(table: jax.Array, lists: Lists, _absolute: None = None, *, grid: Grid) -> Images:
    """See blend_xla.inspect; grid of small tiles. Runs anywhere; no gradient."""
    return _inspect(grid)(*jax.tree.map(jax.lax.stop_gradient, (table, lists)), ())


@functools.cache
def _inspect(grid: Grid) -> Callable:
    return _foldable(lambda table, lists, _: blend_xla.inspect(table, lists, grid, _xla_plan(lists, grid)))
