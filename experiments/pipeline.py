"""A run from start to end: portrait, parts, work folder, loop, results. Everything after jax is imported."""

from __future__ import annotations

import dataclasses
import functools
import io
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from experiments import assemble, checkpoint, checks, dry, example, heads, logs, parallel, train, workdir
from experiments import config as config_module
from experiments import devices as device_table
from experiments import finish as finish_module
from experiments.assemble import Parts, Progress
from experiments.config import Config
from experiments.programs import Programs
from zero1a_jax import diffusion, preprocess, rasterizer
from zero1a_jax.image import losses
from zero1a_jax.types import FlameModel, FlameParams, Portrait


def run(config: Config) -> int:
    """Runs or resumes; returns the exit code. Errors of the input end with one sentence and code 2."""
    seconds: dict[str, float] = {}
    begin = time.monotonic()
    devices = jax.local_devices()
    folder = Path(config.runner.workdir)
    if (folder / "metrics.json").is_file():
        report_paths(folder)
        return 0
    try:
        model = heads.load(config.input.flame)
        if config.runner.dry_run:
            print(dry.describe(config, model, devices), flush=True)
            return 0
        detector = preprocess.find_detector(config.input.assets or None)
        portrait = load_portrait(config, model, detector, folder)
        parts = load_parts(config, model, portrait, detector)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds["portrait and parts"] = time.monotonic() - begin
    kinds = [f"{d.platform}: {d.device_kind}" for d in devices]
    environment = workdir.describe(config, kinds, hashes(config))
    workdir.create(config, environment, portrait=_npz(assemble.portrait_arrays(portrait)))
    return train_run(config, parts, folder, devices, seconds)


def train_run(
    config: Config, parts: Parts, folder: Path, devices: Sequence[parallel.Device], seconds: dict[str, float]
) -> int:
    """Resumes from the newest readable checkpoint, or starts; returns the exit code."""
    checkpoints = folder / "checkpoints"
    begin = time.monotonic()
    setup = assemble.setup(config, parts, devices)
    programs = Programs(setup)
    progress = assemble.start(setup)
    try:
        restored = checkpoint.restore(checkpoints, progress.arrays())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    step, arrays, skipped = restored if restored else (0, None, [])
    log = logs.Log(folder, steps=config.optimisation.steps, start=step)
    for line in skipped:
        log.say(line)

    def save(at: int) -> None:
        checkpoint.save(checkpoints, at, progress.arrays(), keep=config.runner.keep)

    try:
        with checkpoint.termination() as signals:
            if arrays is not None:
                progress = Progress.from_arrays(arrays, devices)
                log.say(f"resuming at step {step}")
            else:
                log.say("compiling and running the first fill of the dataset")
                train.first_fill(setup, programs, progress)
                finish_module.dataset_video(folder / "videos" / "dataset_before.mp4", progress.dataset)
                save(0)
            seconds["start and first fill"] = time.monotonic() - begin
            begin = time.monotonic()
            profile = profiler(config, folder)
            step = train.train(
                setup, programs, progress, log, save=save, stop=lambda: bool(signals), before=profile
            )
            seconds["training"] = time.monotonic() - begin
            if step < config.optimisation.steps:
                log.say(f"stopped by signal {signals[0]} at step {step}; the same command goes on from there")
                return 128 + signals[0]
            log.say("rendering the results")
            begin = time.monotonic()
            metrics = finish_module.finish(setup, programs, progress, folder, seconds)
            log.say(f"results took {time.monotonic() - begin:.0f} s")
    except (train.GivenUp, OSError) as error:
        log.say(f"error: {error}")
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        log.close()
    print(f"PSNR at the portrait's view: {metrics['portrait_psnr_masked']:.1f} dB (masked)")
    report_paths(folder)
    return 0


def load_portrait(config: Config, model: FlameModel, detector: Callable, folder: Path) -> Portrait:
    """The run's portrait: stored in the folder of a resumed run, else prepared from the picture.

    Raises ValueError with one sentence for a picture that is damaged or shows no face.
    """
    stored = folder / "portrait.npz"
    if stored.is_file() and (folder / "config.json").is_file():
        return assemble.load_portrait(stored)
    image = config.input.image
    source = example.picture(int(image.removeprefix(checks.SYNTHETIC))) if is_synthetic(image) else image
    print("preparing the portrait", flush=True)
    return preprocess.prepare(
        source, model=model, detector=detector, size=config.input.size, background=config.input.background
    )


def is_synthetic(image: str) -> bool:
    """Whether --image asks for a rendered person."""
    return image.startswith(checks.SYNTHETIC)


def load_parts(config: Config, model: FlameModel, portrait: Portrait, detector: Callable) -> Parts:
    """The rooms' contributions for the embedded default. Raises ValueError where sizes do not fit."""
    sizes, params = diffusion.load_miniature()
    dtype = device_table.dtype_of(config.generation.dtype, platform=jax.default_backend(), miniature=True)
    sizes = dataclasses.replace(sizes, dtype=dtype)
    if sizes.frame_size != config.input.size:
        raise ValueError(f"--size={config.input.size} does not fit the diffusion: use {sizes.frame_size}.")
    # Without the compensation small Gaussians grow by the 0.3 px blur, and larger frames show gaps.
    drawing: dict[str, Any] = {"antialiased": True, "implementation": config.optimisation.rasterizer}
    return Parts(
        model=model,
        portrait=portrait,
        diffusion=diffusion.build(sizes),
        diffusion_params=diffusion.cast(sizes, params),
        condition_size=sizes.condition_size,
        condition_kind=sizes.condition,
        render=functools.partial(rasterizer.render, **drawing),
        suggest_capacity=functools.partial(rasterizer.suggest_capacity, **drawing),
        perceptual=perceptual(config),
        detector=detector,
        motions=[load_motion(path, model, portrait) for path in config.input.motions],
    )


def perceptual(config: Config) -> Callable:
    """LPIPS where its weights are given, else multi-scale D-SSIM."""
    if not config.optimisation.lpips_weights:
        return losses.dssim_multiscale
    flat = load_file(config.optimisation.lpips_weights)
    weights: Any = {"kernels": [], "biases": [], "linear": []}
    for name in sorted(flat, key=lambda n: (n.split(".")[0], int(n.split(".")[1]))):
        weights[name.split(".")[0]].append(jnp.asarray(flat[name]))
    return functools.partial(losses.lpips, weights)


def load_motion(path: str, model: FlameModel, portrait: Portrait) -> FlameParams:
    """A driving file for the portrait's identity, without its camera and its place in the world."""
    motion = heads.load_motion(path, model, shape=portrait.flame.shape, root="drop")
    return motion.flame


def hashes(config: Config) -> dict[str, str]:
    """SHA-256 of the shipped files that the run depends on, and of a head model that the user gave."""
    folder = Path(str(_assets()))
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    files += [heads.file(config.input.flame)] if config.input.flame else []
    return {path.name: workdir.digest(path) for path in files}


def profiler(config: Config, folder: Path) -> Callable[[int], None]:
    """Starts and stops jax's profiler at the steps of --profile_steps."""
    chosen = config_module.profile_range(config.runner.profile_steps)

    def before(step: int) -> None:
        if chosen and step == chosen[0]:
            jax.profiler.start_trace(str(folder / "logs" / "profile"))
        if chosen and step == chosen[1]:
            jax.profiler.stop_trace()

    return before


def report_paths(folder: Path) -> None:
    """Says where the results are and how to look at them."""
    for name in ("report.html", "metrics.json", "export/avatar.ply", "export/avatar_world.ply", "videos"):
        print(f"  {folder / name}")
    print(f"look at it: python -m experiments.view --avatar={folder / 'export'}")


def _assets():
    from importlib import resources

    return resources.files("zero1a_jax") / "assets"


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
