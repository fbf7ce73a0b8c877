"""What the rasterizer's extras cost beside a plain rendering: features, absolute gradients, inspect().

On one core: taskset -c 1 python -m experiments.benchmarks.raster_features --clock=cpu
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import raster_scenes, raster_timing
from zero1a_jax import rasterizer
from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused
from zero1a_jax.types import Camera, Gaussians


@dataclass(frozen=True)
class Options:
    """What to measure, and how."""

    case: str = option("50000@512", "GAUSSIANS@PIXELS.")
    channels: tuple[str, ...] = option(("3", "16", "64"), "How many features.")
    repeats: int = option(9, "Timed calls; the median counts.", low=1)
    clock: str = option("wall", "cpu: the process's own time.", choices=("wall", "cpu"))


def _programs(gaussians: Gaussians, camera: Camera, channels: list[int]) -> dict[str, Callable]:
    size = gaussians.means.shape[0]
    capacity = rasterizer.suggest_capacity(gaussians, camera)
    r = np.random.default_rng(1)
    weights = jnp.asarray(r.normal(size=(camera.height, camera.width, 1)), jnp.float32)

    def draw(gaussians, offset, features, absolute):
        options = {"screen_offset": offset, "features": features, "absolute_gradient": absolute}
        background = jnp.full(3, 0.2)
        return rasterizer.render(gaussians, camera, background=background, capacity=capacity, **options)

    def loss(gaussians, offset, features, absolute):
        out = draw(gaussians, offset, features, absolute)
        drawn = 0.0 if out.features is None else jnp.sum(out.features * weights)
        return drawn + jnp.sum(out.rgb * weights) + jnp.sum((out.alpha + out.depth) * weights[..., 0])

    forward = jax.jit(draw, static_argnums=3)
    gradient = jax.jit(jax.grad(loss, (0, 1, 2)), static_argnums=3)
    inspect = jax.jit(functools.partial(rasterizer.inspect, capacity=capacity))
    offset = jnp.zeros((size, 2))
    programs = {"inspect": lambda: inspect(gaussians, camera)}
    for count in (0, *channels):
        given = jnp.asarray(r.normal(size=(size, count)), jnp.float32) if count else None
        programs[f"{count} features"] = lambda f=given: forward(gaussians, offset, f, False)
        programs[f"{count} features, gradient"] = lambda f=given: gradient(gaussians, offset, f, False)
    programs["absolute, gradient"] = lambda: gradient(gaussians, offset, None, True)
    return programs


def main(options: Options) -> None:
    """Prints milliseconds a call and the ratio to a plain rendering or its gradient."""
    if not all(text.isdigit() for text in options.channels):
        raise Refused(f"--channels={','.join(options.channels)} must be whole numbers.")
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    scene = raster_scenes.build(raster_scenes.parse(options.case))
    programs = _programs(*scene, [int(text) for text in options.channels])
    times = raster_timing.medians(programs, repeats=options.repeats, clock=clock)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {options.case}, {options.clock} clock")
    for name, milliseconds in times.items():
        plain = times["0 features, gradient" if name.endswith("gradient") else "0 features"]
        print(f"{name}: {milliseconds:.1f} ms, {milliseconds / plain:.2f}")


if __name__ == "__main__":
    command.run(Options, main, __doc__)
