"""A run from start to end: portrait, parts, work folder, loop, results. Everything after jax is imported."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import time
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import lock, preprocess, rasterizer
from zero1a_jax.commandline import command
from zero1a_jax.config import Config, profile_range
from zero1a_jax.converters import lpips
from zero1a_jax.cost import dry_run
from zero1a_jax.devices import Device, everyone
from zero1a_jax.errors import Refused
from zero1a_jax.image import losses
from zero1a_jax.measuring import heldout
from zero1a_jax.once import bound
from zero1a_jax.sources import arkit_table, diffusions, heads, motions, portrait_file, portraits
from zero1a_jax.training import (
    checkpoint,
    checks,
    held_out,
    logs,
    loop,
    processes,
    rounds,
    setup,
    signals,
    workdir,
)
from zero1a_jax.training.dataset_update import Told, first_fill
from zero1a_jax.training.goodput import Goodput
from zero1a_jax.training.programs import Programs
from zero1a_jax.training.progress import Progress, has_prior, start
from zero1a_jax.training.results import dataset_video, finish
from zero1a_jax.training.setup import Parts
from zero1a_jax.types import ArkitMap, FlameModel, Motion, Portrait


def run(config: Config) -> int:
    """Runs or resumes; returns the exit code. Errors of the input end with one sentence and code 2."""
    return processes.together(config.runner, lambda: _run(config))


def _run(config: Config) -> int:
    seconds: dict[str, float] = {}
    begin = time.monotonic()
    devices = everyone()
    folder = Path(config.runner.workdir)
    leads = processes.leads()
    processes.compare(config)
    if processes.of_first(lambda: b"done" if (folder / "metrics.json").is_file() else b""):
        if leads:
            report_paths(folder)
        return 0
    with contextlib.ExitStack() as stack:
        try:
            model = heads.load(config.input.flame)
            if config.runner.dry_run:
                if leads:
                    print(dry_run.describe(config, model, devices), flush=True)
                return 0
            detector = preprocess.find_detector(config.input.assets or None)

            def first() -> bytes:
                if config.runner.process and (found := checks.folder_problems(config)):
                    raise Refused(" ".join(found))
                stack.enter_context(lock.held(folder))
                return _npz(portrait_file.arrays(load_portrait(config, model, detector, folder)))

            stored = processes.of_first(first)
            portrait = portrait_file.read(io.BytesIO(stored))
            parts = load_parts(config, model, portrait, detector)
        except OSError as error:
            raise Refused(command.sentence(error)) from error
        seconds["portrait and parts"] = time.monotonic() - begin
        kinds = [f"{d.platform}: {d.device_kind}" for d in devices]
        if leads:
            workdir.create(config, workdir.describe(config, kinds, hashes(config)), portrait=stored)
        return train_run(config, parts, folder, devices, seconds)


def train_run(
    config: Config, parts: Parts, folder: Path, devices: Sequence[Device], seconds: dict[str, float]
) -> int:
    """Resumes from the newest readable checkpoint, or starts; returns the exit code.

    Of several processes the first alone reads and writes `folder`, but for the others' logs. Raises Refused
    where there are checkpoints and none can be read.
    """
    checkpoints = folder / "checkpoints"
    begin = time.monotonic()
    made = setup.build(config, parts, devices)
    programs = Programs(made)
    if config.refresh.method == "diffusion_only":
        print("generating the held-out poses", flush=True)
        held_out.write(made, programs, folder, seconds)
        if processes.leads():
            report_paths(folder)
        return 0
    progress = start(made)
    step, arrays, skipped = restored(checkpoints, progress.arrays())
    reached = max((entry["step"] for entry in logs.history(folder)), default=0)
    clock = Goodput(folder, start=step, reached=reached)
    log = logs.of_process(folder, steps=config.update.steps, start=step)
    for line in [*skipped, *programs.notes()]:
        log.say(line)

    def save(at: int) -> None:
        if processes.leads():
            with clock.spent("saves"):
                checkpoint.save(checkpoints, at, progress.arrays(), keep=config.runner.keep)
            clock.write(at)

    def told(generated: list[rounds.Refreshed]) -> None:
        if processes.leads():
            rounds.write(folder, generated, made.provenance)

    try:
        if arrays is not None:
            progress = Progress.from_arrays(arrays, devices)
            log.say(f"resuming at step {step}")
        else:
            if config.update.texture_prior and not has_prior(config, parts.model):
                log.say("the texture prior knows the embedded head alone: this head starts without it")
            log.say("compiling and running the first fill of the dataset")
            first_fill(made, programs, progress, told=told)
            if processes.leads():
                before = folder / "videos" / "dataset_before.mp4"
                dataset_video(before, progress.dataset, made.provenance)
            save(0)
        seconds["start and first fill"] = time.monotonic() - begin
        options = {"save": save, "spent": clock.spent, "told": told}
        step, signal = trained(made, programs, progress, log, folder=folder, **options)
        seconds["training"] = time.monotonic() - begin - seconds["start and first fill"]
        if signal:
            log.say(f"stopped by signal {signal} at step {step}; the same command goes on from there")
        if not processes.leads():
            return 128 + signal if signal else 0
        clock.write(step, "stopped" if signal else "training done")
        if signal:
            return 128 + signal
        log.say("rendering the results")
        with clock.spent("results"):
            metrics = finish(made, programs, progress, folder, seconds)
        clock.write(step, "finished")
        log.say(f"results took {clock.seconds['results']:.0f} s")
    except (loop.GivenUp, OSError) as error:
        print(f"error: {command.sentence(error)}", file=sys.stderr)
        with contextlib.suppress(OSError):  # on a full disk the log is full too
            log.say(f"error: {command.sentence(error)}")
        return 1
    finally:
        log.close()
    print(f"PSNR at the portrait's view: {metrics['portrait_psnr_masked']:.1f} dB (masked)")
    report_paths(folder)
    return 0


def trained(
    made: setup.Setup,
    programs: Programs,
    progress: Progress,
    log: loop.Logger,
    *,
    folder: Path,
    save: Callable[[int], None],
    spent: Callable[[str], contextlib.AbstractContextManager],
    told: Told,
) -> tuple[int, int]:
    """Trains until the last step or a signal to any process; returns the step, and the signal or 0."""
    signal = 0
    with signals.termination() as received:

        def stop() -> bool:
            nonlocal signal
            signal = processes.largest(received[0] if received else 0)
            return bool(signal)

        before = profiler(made.config, folder)
        options = {"save": save, "stop": stop, "before": before, "spent": spent, "told": told}
        step = loop.train(made, programs, progress, log, **options)
    return step, signal


def restored(checkpoints: Path, like: dict[str, Any]) -> tuple[int, dict[str, Any] | None, list[str]]:
    """Step, arrays and what was skipped of the newest checkpoint that can be read; no arrays at the start.

    Raises Refused where there are checkpoints and none can be read.
    """
    found: list[tuple[int, Any, list[str]]] = []

    def read() -> bytes:
        step, tree, skipped = checkpoint.restore(checkpoints, like) or (0, None, [])
        found.append((step, tree, skipped))
        if jax.process_count() == 1 or tree is None:
            return b""
        leaves = {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(tree))}
        return _npz(leaves | {"step": np.array(step)})

    sent = processes.of_first(read)
    if processes.leads():
        return found[0]
    if not sent:
        return 0, None, []
    with np.load(io.BytesIO(sent), allow_pickle=False) as data:
        leaves = [data[str(i)] for i in range(len(data.files) - 1)]
        return int(data["step"]), jax.tree.unflatten(jax.tree.structure(like), leaves), []


def load_portrait(config: Config, model: FlameModel, detector: Callable, folder: Path) -> Portrait:
    """The run's portrait: stored in the folder of a resumed run, else from the picture or a prepared folder.

    Raises Refused with one sentence for a picture that is damaged or shows no face, or such a folder.
    """
    stored = folder / "portrait.npz"
    if stored.is_file() and (folder / "config.json").is_file():
        return portrait_file.read(stored)
    print("preparing the portrait", flush=True)
    portrait, notes = portraits.load(config.input, model, detector)
    for note in notes:
        print(f"note: {note}", flush=True)
    return portrait


def load_parts(config: Config, model: FlameModel, portrait: Portrait, detector: Callable) -> Parts:
    """What each package contributes. Raises Refused where the diffusion and sizes do not fit."""
    video_model, params = diffusions.load(config, jax.default_backend())
    arkit = arkit_table.load(model, config.input.arkit)
    # Without the compensation small Gaussians grow by the 0.3 px blur, and larger frames show gaps.
    drawing: dict[str, Any] = {"antialiased": True, "implementation": config.update.rasterizer}
    return Parts(
        model=model,
        portrait=portrait,
        diffusion=video_model,
        diffusion_params=params,
        render=bound(rasterizer.render, **drawing),
        suggest_capacity=bound(rasterizer.suggest_capacity, **drawing),
        perceptual=perceptual(config),
        detector=detector,
        motions=[load_motion(path, model, portrait, arkit) for path in config.input.motions],
        arkit=arkit,
    )


def load_motion(path: str, model: FlameModel, portrait: Portrait, arkit: ArkitMap | None) -> Motion:
    """A driving file for the portrait's identity, without its place in the world."""
    return motions.load(path, model, shape=portrait.flame.shape, root="drop", arkit=arkit)


def perceptual(config: Config) -> Callable:
    """LPIPS where its weights are given, else multi-scale D-SSIM."""
    if not config.update.lpips_weights:
        return losses.dssim_multiscale
    weights: Any = jax.tree.map(jnp.asarray, lpips.load(config.update.lpips_weights))
    return functools.partial(losses.lpips, weights)


def hashes(config: Config) -> dict[str, str]:
    """SHA-256 of the shipped files that the run depends on, and of the models that the user gave."""
    folder = Path(str(resources.files("zero1a_jax") / "assets"))
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    files += [heads.file(config.input.flame)] if config.input.flame else []
    files += diffusions.files(config.input.diffusion)
    table = Path(config.input.arkit)
    files += sorted(table.glob("bs2*.npy")) if table.is_dir() else [table] if config.input.arkit else []
    return {path.name: workdir.digest(path) for path in files}


def profiler(config: Config, folder: Path) -> Callable[[int], None]:
    """Starts and stops jax's profiler at the steps of --profile_steps."""
    chosen = profile_range(config.runner.profile_steps)

    def before(step: int) -> None:
        if chosen and step == chosen[0]:
            jax.profiler.start_trace(str(folder / "logs" / "profile"))
        if chosen and step == chosen[1]:
            jax.profiler.stop_trace()

    return before


def report_paths(folder: Path) -> None:
    """Says where the results are and how to look at them."""
    names = ("avatar.html", "report.html", "metrics.json", heldout.FOLDER, "export/avatar.ply")
    for name in (*names, "export/avatar_world.ply", "videos"):
        if (folder / name).exists():
            print(f"  {folder / name}")
    if (folder / "export" / "avatar.ply").is_file():
        print(f"look at it: python -m experiments.view --avatar={folder / 'export'}")


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
