"""The least time that compositing can take on this device: what it must compute, over how fast that goes.

A pixel must evaluate every entry of its tile's list until it is opaque. Such a pair of pixel and Gaussian
costs one exp and about OPERATIONS multiply-adds, and the backward pass about twice that. Both speeds are
measured here, on arrays that stay in the cache.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from experiments.benchmarks import raster_timing
from zero1a_jax.rasterizer import api, project, tiles
from zero1a_jax.rasterizer.blend_steps import step_forward
from zero1a_jax.rasterizer.blend_xla import MIN_TRANSMITTANCE, PIXELS
from zero1a_jax.rasterizer.table import SHAPE_FIELDS
from zero1a_jax.types import Camera, Gaussians

OPERATIONS = 20  # a pair, beside the exp
BACKWARD = 2  # times the forward pass
_EXPS, _CHAINS, _DEPTH, _ROUNDS = 16, 8, 32, 50


@dataclasses.dataclass(frozen=True)
class Speed:
    """What one element costs on the whole device (or the cores that this process may use)."""

    exp_ns: float
    multiply_add_ns: float

    def floor_ms(self, pairs: int, *, gradient: bool) -> float:
        """The least milliseconds for the forward pass of this many pairs, or for it and the backward one."""
        forward = 1e-6 * pairs * (self.exp_ns + OPERATIONS * self.multiply_add_ns)
        return forward * (1 + BACKWARD) if gradient else forward


@dataclasses.dataclass(frozen=True)
class Pairs:
    """How many pairs of a pixel and a Gaussian an image has."""

    evaluated: int  # in the lists of 8x8 tiles, until the pixel is opaque
    drawn: int  # those of them that add to the pixel


def measure(clock: Callable[[], float], *, size: int | None = None, repeats: int = 9) -> Speed:
    """Measures both speeds on arrays of `size` elements, by default what suits the device."""
    if size is None:
        size = 1 << (14 if jax.default_backend() == "cpu" else 22)
    factors = jnp.linspace(-1.0, -0.1, 2 * _CHAINS)
    start = jnp.linspace(0.0, 1.0, size)
    kernels = (_exps, _multiply_adds)
    programs = {f.__name__: raster_timing.compiled(f, start, factors, clock=clock).call for f in kernels}
    times = raster_timing.medians(programs, repeats=repeats, clock=clock)
    elements = 1e-6 * size * _ROUNDS
    multiply_add = times["_multiply_adds"] / (elements * _CHAINS * _DEPTH)
    # Beside every exp there are a subtraction and an addition.
    exp = times["_exps"] / (elements * _EXPS) - 2 * multiply_add
    return Speed(exp, multiply_add)


def _exps(start: jax.Array, factors: jax.Array) -> jax.Array:
    def step(_, value):
        return sum(jnp.exp(factors[k] - value) for k in range(_EXPS)) * (1 / _EXPS)

    return lax.fori_loop(0, _ROUNDS, step, start)


def _multiply_adds(start: jax.Array, factors: jax.Array) -> jax.Array:
    def step(_, value):
        chains = [value] * _CHAINS  # independent, so that none waits for its own result
        for _ in range(_DEPTH):
            chains = [chain * factors[k] + factors[_CHAINS + k] for k, chain in enumerate(chains)]
        return sum(chains) * (1 / _CHAINS)

    return lax.fori_loop(0, _ROUNDS, step, start)


def lists(
    gaussians: Gaussians, camera: Camera, *, capacity: int, grid: tiles.Grid
) -> tuple[jax.Array, tiles.Lists]:
    """The table [N, 6 + 4] and the tiles' lists that `render` composites. Jittable."""
    lens = project.Lens(antialiased=False, near=api.NEAR, far=math.inf, radius_clip=0.0)
    splats, extent = project.project(gaussians, camera, lens=lens)
    found, _ = tiles.tile_lists(splats, tiles.boxes(splats, extent, grid), grid, capacity)
    return jnp.stack(splats, 1), found


@jax.jit
def _walk(table: jax.Array, found: tiles.Lists, origins: jax.Array) -> tuple[jax.Array, jax.Array]:
    index = jnp.arange(PIXELS)
    x = origins[:, :1] + index % tiles.TILE + 0.5
    y = origins[:, 1:] + index // tiles.TILE + 0.5

    def step(at, carry):
        transmittance, evaluated, drawn = carry
        alive = (at < found.counts)[:, None] & (transmittance > MIN_TRANSMITTANCE)
        row = table[found.ids.at[found.starts + at].get(mode="clip")]
        entry = [column[:, None] for column in row.T[:SHAPE_FIELDS]]
        after, (weight,) = step_forward(entry, x, y, transmittance, (jnp.zeros_like(x),))
        transmittance = jnp.where(alive, after, transmittance)
        return transmittance, evaluated + alive, drawn + (alive & (weight > 0))

    zero = jnp.zeros(x.shape, jnp.int32)
    return lax.fori_loop(0, jnp.max(found.counts), step, (jnp.ones(x.shape), zero, zero))[1:]


def pairs(gaussians: Gaussians, camera: Camera, *, capacity: int) -> Pairs:
    """Counts the pairs that the image needs, in the lists of 8x8 tiles whatever composites."""
    grid = tiles.Grid(camera.height, camera.width)
    make = jax.jit(lambda g, c: lists(g, c, capacity=capacity, grid=grid))
    table, found = make(gaussians, camera)
    # A pixel's count fits 32 bits, the sum need not.
    walked = jax.device_get(_walk(table, found, grid.origins()))
    evaluated, drawn = (int(x.sum(dtype="int64")) for x in walked)
    return Pairs(evaluated, drawn)
