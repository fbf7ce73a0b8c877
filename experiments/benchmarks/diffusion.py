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
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments import counting, devices, memory, predict
from experiments.benchmarks import raster_report, raster_timing
from experiments.config import Generation
from zero1a_jax import diffusion, symgen

_SIZES = flags.DEFINE_list("sizes", ["miniature"], "miniature, or the pixels a side of AniPortrait's frames")
_PROGRAMS = flags.DEFINE_list("programs", ["reference", "step", "update"], "what to measure")
_FRAMES = flags.DEFINE_integer("frames", 16, "frames of a sample", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 25, "steps of inverting, and of denoising", lower_bound=1)
_ITERATIONS = flags.DEFINE_integer(
    "iterations", 1, "fixed-point iterations of an inversion step", lower_bound=1
)
_DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "bfloat16", "float16"], "what the UNets compute in"
)
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls; the median counts", lower_bound=1)
_CLOCK = flags.DEFINE_enum(
    "clock", "wall", ["wall", "cpu"], "cpu: the process's own time, for a busy machine and one core"
)
_MATMUL = flags.DEFINE_integer("matmul", 0, "side of the matrices that give the peak; 0: by the device")

NAMES = ("reference", "step", "update")
COLUMNS = (
    "frames", "program", "TFLOP", "ms", "TFLOP/s", "of peak", "weights MB", "temporaries MB", "counted MB",
    "compile s",
)  # fmt: skip


class Case(NamedTuple):
    """A program with the shapes of its arguments."""

    name: str
    function: Callable
    shapes: tuple[Any, ...]


def main(argv: Sequence[str]) -> None:
    """Prints a table, row by row."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    try:
        configs = {text: config_of(text, _DTYPE.value) for text in dict.fromkeys(_SIZES.value)}
    except ValueError as error:
        raise app.UsageError(str(error)) from error
    unknown = sorted(set(_PROGRAMS.value) - set(NAMES))
    if unknown:
        raise app.UsageError(f"--programs: there is no {unknown[0]}; choose from {', '.join(NAMES)}.")
    if _CLOCK.value == "cpu" and jax.default_backend() != "cpu":
        raise app.UsageError(f"--clock=cpu does not see the {jax.default_backend()} work; use --clock=wall.")
    memory.reuse_freed_memory()
    jax.config.update("jax_enable_compilation_cache", False)  # else compile times could be those of a read
    clock = time.process_time if _CLOCK.value == "cpu" else time.perf_counter
    side = _MATMUL.value or (1024 if jax.default_backend() == "cpu" else 8192)
    speed = predict.measured(side, clock=clock)
    device = jax.devices()[0].device_kind
    print(
        f"{device}, jax {jax.__version__}, {_CLOCK.value} clock, medians of {_REPEATS.value}; products of "
        f"{side} x {side}: {speed.half / 1e12:.3g} TFLOP/s in bfloat16, {speed.single / 1e12:.3g} in float32",
        flush=True,
    )
    print(raster_report.text(list(COLUMNS), []), flush=True)
    for text, config in configs.items():
        for case in cases(config, _FRAMES.value, _PROGRAMS.value):
            for line in run(text, case, speed, clock):
                print(line, flush=True)


def config_of(text: str, dtype: str) -> diffusion.DiffusionConfig:
    """The model that a size names. Raises ValueError for anything else."""
    if text == "miniature":
        return dataclasses.replace(diffusion.miniature_config(), dtype=dtype)
    if not text.isdigit() or int(text) == 0:
        raise ValueError(f"--sizes={text} must be miniature or a number of pixels.")
    return diffusion.DiffusionConfig(frame_size=int(text), dtype=dtype)


def cases(config: diffusion.DiffusionConfig, frames: int, names: Sequence[str]) -> list[Case]:
    """The programs of one model, those in `names`."""
    functions, side = diffusion.build(config), config.frame_size
    generation = dataclasses.replace(
        Generation(),
        inversion_steps=_STEPS.value,
        denoise_steps=_STEPS.value,
        inversion_iterations=_ITERATIONS.value,
    )

    def shape(*sizes: int) -> Any:
        return jax.ShapeDtypeStruct(sizes, jnp.float32)

    params = predict.shapes_of(config)

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
            config=generation,
        )

    every = (
        Case("reference", functions.reference, (portrait, rgb, own)),
        Case("step", step, (video_parts, given, latents, conditions)),
        Case("update", update, (video_parts, given, video, shape(*video.shape[:3]), conditions)),
    )
    return [case for case in every if case.name in names]


def run(text: str, case: Case, speed: devices.Speed, clock: Callable[[], float]) -> list[str]:
    """One row of the table, or a sentence where the memory does not suffice."""
    program = counting.trace(case.function, *case.shapes)
    cost = predict.Cost(counting.flops(program), counting.peak_bytes(program))
    arguments = counting.bytes_of(case.shapes)
    needed, free = arguments + cost.peak, free_bytes()
    if needed > free:
        sentence = (
            f"{text} {case.name}: skipped, it needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} are free."
        )
        return [sentence]
    values = jax.tree.map(filled, case.shapes)
    compiled = raster_timing.compiled(case.function, *values, clock=clock)
    ms = raster_timing.medians({"": compiled.call}, repeats=_REPEATS.value, clock=clock, settle=1)[""]
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
    return raster_report.text(list(COLUMNS), [row]).splitlines()[2:]


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
    app.run(main)
