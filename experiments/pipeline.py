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

from experiments import (
    assemble,
    checkpoint,
    diffusions,
    dry,
    example,
    heads,
    logs,
    own_model,
    parallel,
    prepared,
    train,
    workdir,
)
from experiments import config as config_module
from experiments import devices as device_table
from experiments import finish as finish_module
from experiments.assemble import Parts, Progress
from experiments.config import Config
from experiments.programs import Programs
from third_party.converters import lpips
from zero1a_jax import diffusion, preprocess, rasterizer, symgen
from zero1a_jax.image import losses
from zero1a_jax.types import ArkitMap, FlameModel, FlameParams, Portrait


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
    """The run's portrait: stored in the folder of a resumed run, else from the picture or a prepared folder.

    Raises ValueError with one sentence for a picture that is damaged or shows no face, or such a folder.
    """
    stored = folder / "portrait.npz"
    if stored.is_file() and (folder / "config.json").is_file():
        return assemble.load_portrait(stored)
    print("preparing the portrait", flush=True)
    if Path(config.input.image).is_dir():
        portrait, notes = prepared.read(
            config.input.image, model, size=config.input.size, background=config.input.background
        )
    else:
        result = preprocess.prepare_all(
            example.source(config.input.image), model=model, detector=detector, size=config.input.size,
            background=config.input.background, mask=config.input.mask or None,
            segmenter=preprocess.find_segmenter(config.input.assets or None),
            face_index=config.input.face_index,
        )  # fmt: skip
        portrait, notes = result.portrait, result.notes
    for note in notes:
        print(f"note: {note}", flush=True)
    return portrait


def load_parts(config: Config, model: FlameModel, portrait: Portrait, detector: Callable) -> Parts:
    """The rooms' contributions. Raises ValueError where the diffusion and sizes do not fit."""
    video_model, params = load_diffusion(config)
    arkit = heads.arkit(model, config.input.arkit)
    # Without the compensation small Gaussians grow by the 0.3 px blur, and larger frames show gaps.
    drawing: dict[str, Any] = {"antialiased": True, "implementation": config.optimisation.rasterizer}
    return Parts(
        model=model,
        portrait=portrait,
        diffusion=video_model,
        diffusion_params=params,
        render=functools.partial(rasterizer.render, **drawing),
        suggest_capacity=functools.partial(rasterizer.suggest_capacity, **drawing),
        perceptual=perceptual(config),
        detector=detector,
        motions=[load_motion(path, model, portrait, arkit) for path in config.input.motions],
        arkit=arkit,
    )


def load_diffusion(config: Config) -> tuple[symgen.Diffusion, Any]:
    """The video diffusion and its parameters: the user's own, AniPortrait's or the miniature's.

    Raises as `load_parts`.
    """
    text, size = config.input.diffusion, config.input.size
    if own_model.named(text):
        return own_model.load(text, size, config.curriculum.frames)
    sizes, params = diffusions.load(text, size)
    if config.generation.pose_guider == "official":
        sizes = diffusion.official(sizes)
    dtype = device_table.dtype_of(
        config.generation.dtype, platform=jax.default_backend(), miniature=not text
    )
    sizes = dataclasses.replace(sizes, dtype=dtype)
    return diffusion.build(sizes), diffusion.cast(sizes, params)


def perceptual(config: Config) -> Callable:
    """LPIPS where its weights are given, else multi-scale D-SSIM."""
    if not config.optimisation.lpips_weights:
        return losses.dssim_multiscale
    weights: Any = jax.tree.map(jnp.asarray, lpips.load(config.optimisation.lpips_weights))
    return functools.partial(losses.lpips, weights)


def load_motion(path: str, model: FlameModel, portrait: Portrait, arkit: ArkitMap | None) -> FlameParams:
    """A driving file for the portrait's identity, without its camera and its place in the world."""
    motion = heads.load_motion(path, model, shape=portrait.flame.shape, root="drop", arkit=arkit)
    return motion.flame


def hashes(config: Config) -> dict[str, str]:
    """SHA-256 of the shipped files that the run depends on, and of the models that the user gave."""
    folder = Path(str(_assets()))
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    files += [heads.file(config.input.flame)] if config.input.flame else []
    files += diffusions.files(config.input.diffusion)
    table = Path(config.input.arkit)
    files += sorted(table.glob("bs2*.npy")) if table.is_dir() else [table] if config.input.arkit else []
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
