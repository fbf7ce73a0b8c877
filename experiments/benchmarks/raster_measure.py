"""One case of the rasterizer's benchmark, measured: everything that is compared takes turns in one run."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import raster_peers, raster_roofline, raster_scenes
from experiments.benchmarks.raster_roofline import Pairs, Speed
from experiments.benchmarks.raster_scenes import Case
from experiments.benchmarks.raster_timing import Program, compiled, medians
from zero1a_jax import rasterizer
from zero1a_jax.rasterizer import tiles
from zero1a_jax.rasterizer.vjp import composite, tile_size
from zero1a_jax.types import Camera, Gaussians


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to measure."""

    clock: Callable[[], float]  # seconds
    repeats: int
    speed: Speed


@dataclasses.dataclass(frozen=True)
class Pass:
    """What one program takes: the forward pass, or that and the gradient."""

    ms: float
    composite_ms: float  # compositing alone, without projection and lists
    floor_ms: float  # the least that compositing can take, see raster_roofline
    compile_s: float
    temporaries_mb: float

    @property
    def of_roofline(self) -> float:
        """The least time for compositing over the time that compositing takes."""
        return self.floor_ms / self.composite_ms

    @property
    def of_roofline_in_all(self) -> float:
        """The least time for compositing over the time of everything."""
        return self.floor_ms / self.ms


@dataclasses.dataclass(frozen=True)
class Rival:
    """A peer on the same case."""

    name: str
    forward_ms: float
    gradient_ms: float
    largest_difference: float  # of its image from ours
    pixels_apart: float  # share that differs by more than 1/255


@dataclasses.dataclass(frozen=True)
class Record:
    """An implementation on a case."""

    case: Case
    implementation: str
    capacity: int
    pairs: Pairs
    forward: Pass
    gradient: Pass
    rivals: tuple[Rival, ...] = ()


@dataclasses.dataclass(frozen=True)
class Batch:
    """The gradient of several cameras at once, and one after the other."""

    case: Case
    implementation: str
    cameras: int
    batch_ms: float
    loop_ms: float
    temporaries_mb: float  # of the batch

    @property
    def over_loop(self) -> float:
        """Below 1 the batch is faster."""
        return self.batch_ms / self.loop_ms


@dataclasses.dataclass(frozen=True)
class _Prepared:
    case: Case
    implementation: str
    capacity: int
    gaussians: Gaussians
    camera: Camera
    programs: dict[str, Program]


def implementations() -> tuple[str, ...]:
    """What this device compiles: "xla", and "pallas" where "auto" would take it."""
    return ("xla",) if tile_size("auto") == tiles.TILE else ("xla", "pallas")


def measure(
    cases: Sequence[Case],
    names: Sequence[str],
    settings: Settings,
    peers: Sequence[raster_peers.Factory] = (),
) -> list[Record]:
    """A record for each case and implementation; all of them take turns, so that any two can be compared."""
    prepared = [_prepare(case, name, settings.clock) for case in cases for name in names]
    rivals = {case: [_rival(factory, p) for factory in peers] for case, p in _by_case(prepared).items()}
    calls: dict[Any, Callable] = {}
    for p in prepared:
        calls |= {(p.case, p.implementation, key): program.call for key, program in p.programs.items()}
    for case, found in rivals.items():
        for peer in found:
            calls[case, peer.name, "forward"] = peer.forward
            calls[case, peer.name, "gradient"] = peer.gradient
    times = medians(calls, repeats=settings.repeats, clock=settings.clock)
    return [_record(p, times, settings.speed, rivals[p.case]) for p in prepared]


def measure_batches(
    case: Case, names: Sequence[str], cameras: Sequence[int], settings: Settings
) -> list[Batch]:
    """The gradient of each number of cameras, as a batch and as a loop, all taking turns."""
    gaussians, camera = raster_scenes.build(case)
    capacity = rasterizer.suggest_capacity(gaussians, camera)
    calls: dict[Any, Callable] = {}
    memory: dict[tuple[str, int], float] = {}
    weights = _weights((camera.height, camera.width, 5))
    for name in names:
        _, loss = _functions(camera, capacity, name)
        single = compiled(jax.grad(loss), gaussians, camera, weights, clock=settings.clock)
        for count in cameras:
            several = jax.tree.map(lambda x, count=count: jnp.stack([x] * count), camera)
            batch = compiled(jax.grad(loss), gaussians, several, weights, clock=settings.clock)
            calls[name, count, "batch"] = batch.call
            calls[name, count, "loop"] = lambda one=single.call, count=count: [one() for _ in range(count)]
            memory[name, count] = batch.temporaries_mb
    times = medians(calls, repeats=settings.repeats, clock=settings.clock)
    return [
        Batch(case, name, count, times[name, count, "batch"], times[name, count, "loop"], megabytes)
        for (name, count), megabytes in memory.items()
    ]


def _functions(camera: Camera, capacity: int, implementation: str) -> tuple[Callable, Callable]:
    """images(gaussians, camera) and a scalar of them in which every pixel has its weight, [H, W, 5].

    The weights are an argument: constants would be brought into the kernel's layout by the compiler.
    """
    background = jnp.full(3, raster_peers.BACKGROUND)

    def images(gaussians: Gaussians, camera: Camera) -> tuple:
        out = rasterizer.render(
            gaussians, camera, background=background, capacity=capacity, implementation=implementation
        )
        return out.rgb, out.alpha, out.depth

    def loss(gaussians: Gaussians, camera: Camera, weights: jax.Array) -> jax.Array:
        rgb, alpha, depth = images(gaussians, camera)
        return jnp.sum(rgb * weights[..., :3]) + jnp.sum(alpha * weights[..., 3] + depth * weights[..., 4])

    return images, loss


def _weights(shape: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


def _prepare(case: Case, implementation: str, clock: Callable[[], float]) -> _Prepared:
    gaussians, camera = raster_scenes.build(case)
    capacity = rasterizer.suggest_capacity(gaussians, camera)
    images, loss = _functions(camera, capacity, implementation)
    tile = tile_size(implementation)
    grid = tiles.Grid(camera.height, camera.width, tile)
    make = jax.jit(lambda g, c: raster_roofline.lists(g, c, capacity=capacity, grid=grid))
    table, lists = make(gaussians, camera)
    blend = functools.partial(composite, grid=grid, widths=(3, 1), implementation=implementation)
    weights = [_weights(image.shape) for image in jax.eval_shape(blend, table, lists)]

    def weighted(table, lists, weights):
        return sum(jnp.sum(i * w) for i, w in zip(blend(table, lists), weights, strict=True))

    programs = {
        "forward": compiled(images, gaussians, camera, clock=clock),
        "gradient": compiled(
            jax.grad(loss), gaussians, camera, _weights((camera.height, camera.width, 5)), clock=clock
        ),
        "composite forward": compiled(blend, table, lists, clock=clock),
        # The value keeps the forward pass alive, as in training.
        "composite gradient": compiled(jax.value_and_grad(weighted), table, lists, weights, clock=clock),
    }
    return _Prepared(case, implementation, capacity, gaussians, camera, programs)


def _by_case(prepared: Sequence[_Prepared]) -> dict[Case, _Prepared]:
    return {p.case: p for p in prepared}


def _rival(factory: raster_peers.Factory, prepared: _Prepared) -> raster_peers.Peer:
    return factory(prepared.gaussians, prepared.camera, prepared.capacity)


def _record(
    prepared: _Prepared, times: dict[Any, float], speed: Speed, rivals: Sequence[raster_peers.Peer]
) -> Record:
    pairs = raster_roofline.pairs(prepared.gaussians, prepared.camera, capacity=prepared.capacity)
    image = np.asarray(prepared.programs["forward"].call()[0])
    return Record(
        prepared.case,
        prepared.implementation,
        prepared.capacity,
        pairs,
        _pass(prepared, "forward", times, speed.floor_ms(pairs.evaluated, gradient=False)),
        _pass(prepared, "gradient", times, speed.floor_ms(pairs.evaluated, gradient=True)),
        tuple(_against(prepared.case, peer, times, image) for peer in rivals),
    )


def _pass(prepared: _Prepared, key: str, times: dict[Any, float], floor_ms: float) -> Pass:
    program, name = prepared.programs[key], (prepared.case, prepared.implementation)
    return Pass(
        ms=times[*name, key],
        composite_ms=times[*name, f"composite {key}"],
        floor_ms=floor_ms,
        compile_s=program.compile_s,
        temporaries_mb=program.temporaries_mb,
    )


def _against(case: Case, peer: raster_peers.Peer, times: dict[Any, float], image: np.ndarray) -> Rival:
    largest, apart = raster_peers.difference(image, peer.image())
    forward, gradient = (times[case, peer.name, key] for key in ("forward", "gradient"))
    return Rival(peer.name, forward, gradient, largest, apart)
