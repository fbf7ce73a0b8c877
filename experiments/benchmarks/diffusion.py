"""The video diffusion's time, memory and compilation, and how near it is to the device's matrix products.

On a CPU:  python -m experiments.benchmarks.diffusion --sizes=miniature
On a GPU:  python -m experiments.benchmarks.diffusion --sizes=miniature,128,256,512 --dtype=bfloat16

A size is `miniature`, or the side in pixels of the frames of AniPortrait's networks, with random weights.
Programs: `reference` is the portrait's pass, `step` one guided evaluation of a denoising step on all frames,
`update` a whole refresh of a sample. Operations are counted off the program (counting.py); the peak is that
of matrix products in the same types, measured in the same run. What the device has no memory for is skipped.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import raster_report, raster_timing
from zero1a_jax import diffusion, symgen
from zero1a_jax.commandline import command
from zero1a_jax.config import Refresh, option
from zero1a_jax.cost import counting, datasheets, predictions
from zero1a_jax.errors import Refused

NAMES = ("reference", "step", "update")
COLUMNS = (
    "frames",
    "program",
    "TFLOP",
    "ms",
    "TFLOP/s",
    "of peak",
    "weights MB",
    "temporaries MB",
    "counted MB",
    "compile s",
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure, and how."""

    sizes: tuple[str, ...] = option(
        ("miniature",), "miniature, or the pixels a side of AniPortrait's frames."
    )
    programs: tuple[str, ...] = option(NAMES, "Which programs.")
    frames: int = option(16, "Frames of a sample.", low=1)
    steps: int = option(25, "Steps of inverting, and of denoising.", low=1)
    iterations: int = option(1, "Fixed-point iterations of an inversion step.", low=1)
    dtype: str = option("float32", "What the UNets compute in.", choices=("float32", "bfloat16", "float16"))
    repeats: int = option(5, "Timed calls; the median counts.", low=1)
    clock: str = option(
        "wall", "cpu: the process's own time, for a busy machine and one core.", choices=("wall", "cpu")
    )
    matmul: int = option(0, "Side of the matrices whose product gives the peak; 0: by the device.", low=0)


class Case(NamedTuple):
    """A program with the shapes of its arguments."""

    name: str
    function: Callable
    shapes: tuple[Any, ...]


def main(options: Options) -> None:
    """Prints a table, row by row."""
    configs = {text: config_of(text, options.dtype) for text in dict.fromkeys(options.sizes)}
    unknown = sorted(set(options.programs) - set(NAMES))
    if unknown:
        raise Refused(f"--programs: there is no {unknown[0]}; choose from {', '.join(NAMES)}.")
    backend = jax.default_backend()
    if options.clock == "cpu" and backend != "cpu":
        raise Refused(f"--clock=cpu does not see the {backend} work; use --clock=wall.")
    jax.config.update("jax_enable_compilation_cache", False)  # else compile times could be those of a read
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    side = options.matmul or (1024 if backend == "cpu" else 8192)
    speed = predictions.measured(side, clock=clock)
    print(
        f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {options.clock} clock, medians of "
        f"{options.repeats}; products of {side} x {side}: {speed.half / 1e12:.3g} TFLOP/s in bfloat16, "
        f"{speed.single / 1e12:.3g} in float32",
        flush=True,
    )
    print(raster_report.text(list(COLUMNS), []), flush=True)
    for text, config in configs.items():
        for case in cases(config, options):
            print(run(text, case, speed, clock, repeats=options.repeats), flush=True)


def config_of(text: str, dtype: str) -> diffusion.DiffusionConfig:
    """The model that a size names. Refused for anything else."""
    if text == "miniature":
        return dataclasses.replace(diffusion.miniature_config(), dtype=dtype)
    if not text.isdigit() or int(text) == 0:
        raise Refused(f"--sizes={text} must be miniature or a number of pixels.")
    return diffusion.DiffusionConfig(frame_size=int(text), dtype=dtype)


def cases(config: diffusion.DiffusionConfig, options: Options) -> list[Case]:
    """The programs of one model that are asked for."""
    functions: Any = diffusion.build(config)
    side, frames = config.frame_size, options.frames
    settings = Refresh(
        inversion_steps=options.steps, denoise_steps=options.steps, inversion_iterations=options.iterations
    )

    def shape(*sizes: int) -> Any:
        return jax.ShapeDtypeStruct(sizes, jnp.float32)

    params = predictions.shapes_of(config)

    def parts(*names: str) -> Any:
        return {name: params[name] for name in names if name in params}

    portrait = parts("vae", "image_encoder", "denoiser" if config.shared_unets else "reference")
    portrait |= parts("pose_guider") if config.reference_pose else {}
    video_parts = parts("vae", "pose_guider", "denoiser")
    rgb, own = shape(side, side, 3), shape(config.condition_size, config.condition_size, 3)
    given = jax.eval_shape(functions.reference, portrait, rgb, own)
    latents = shape(frames, config.latent_size, config.latent_size, config.latent_channels)
    video, conditions = shape(frames, *rgb.shape), shape(frames, *own.shape)

    def step(params: Any, given: Any, latents: Any, conditions: Any) -> Any:
        return functions.velocity(params, latents, 500, given, conditions, guidance=3.5)

    def update(params: Any, given: Any, rgb: Any, alpha: Any, conditions: Any) -> Any:
        key = jax.random.key(0)
        return symgen.refresh(
            functions,
            params,
            given,
            rgb,
            alpha,
            conditions,
            key=key,
            background=jnp.ones(3),
            config=settings,
        )

    every = (
        Case("reference", functions.reference, (portrait, rgb, own)),
        Case("step", step, (video_parts, given, latents, conditions)),
        Case("update", update, (video_parts, given, video, shape(*video.shape[:3]), conditions)),
    )
    return [case for case in every if case.name in options.programs]


def run(text: str, case: Case, speed: datasheets.Speed, clock: Callable[[], float], *, repeats: int) -> str:
    """One row of the table, or a sentence where the memory does not suffice."""
    program = counting.trace(case.function, *case.shapes)
    cost = predictions.Cost(counting.flops(program), counting.peak_bytes(program))
    needed, free = counting.bytes_of(case.shapes) + cost.peak, free_bytes()
    if needed > free:
        return f"{text} {case.name}: skipped, it needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} are free."
    values = jax.tree.map(filled, case.shapes)
    compiled = raster_timing.compiled(case.function, *values, clock=clock)
    ms = raster_timing.medians({"": compiled.call}, repeats=repeats, clock=clock, settle=1)[""]
    total = cost.flops.total()
    row = [
        text,
        case.name,
        f"{total / 1e12:.4g}",
        f"{ms:.4g}",
        f"{total / ms / 1e9:.3g}",
        f"{1e5 * cost.seconds(speed, 1.0) / ms:.0f} %",
        f"{counting.bytes_of(case.shapes[0]) / 1e6:.0f}",
        f"{compiled.temporaries_mb:.0f}",
        f"{cost.peak / 1e6:.0f}",
        f"{compiled.compile_s:.1f}",
    ]
    return raster_report.text(list(COLUMNS), [row]).splitlines()[-1]


def filled(shape: jax.ShapeDtypeStruct) -> jax.Array:
    """An array of this shape; its numbers, small and random, repeat, since drawing billions takes long."""
    block = 0.05 * np.random.default_rng(0).standard_normal(2**16, np.float32)
    return jnp.asarray(np.resize(block.astype(shape.dtype), shape.shape))


def free_bytes() -> float:
    """Memory that arrays may still take on the default device."""
    statistics = jax.devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics["bytes_in_use"]
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


if __name__ == "__main__":
    command.run(Options, main, __doc__)
