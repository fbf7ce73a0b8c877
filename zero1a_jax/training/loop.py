"""The loop: the dataset is refreshed by the avatar's renders, the avatar is fitted to the dataset."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from zero1a_jax import keys, symgen
from zero1a_jax.config import DISTILLED
from zero1a_jax.devices import first, replicate
from zero1a_jax.rasterizer import until_fits
from zero1a_jax.symgen import dataset
from zero1a_jax.training import distillation
from zero1a_jax.training.dataset_update import Told, announce, update_dataset
from zero1a_jax.training.programs import Programs
from zero1a_jax.training.progress import Progress
from zero1a_jax.training.setup import Setup
from zero1a_jax.types import Dataset


class GivenUp(RuntimeError):
    """The run cannot go on; the message says at which step and what to try."""


class Logger(Protocol):
    """What the loop tells the outside."""

    def say(self, text: str) -> None: ...
    def began(self, step: int) -> None: ...
    def step(self, step: int, values: dict[str, float]) -> None: ...
    def image(self, name: str, image: np.ndarray, step: int) -> None: ...


def train(
    setup: Setup,
    programs: Programs,
    progress: Progress,
    log: Logger,
    *,
    save: Callable[[int], None],
    stop: Callable[[], bool],
    before: Callable[[int], None] = lambda step: None,
    spent: Callable[[str], contextlib.AbstractContextManager] = contextlib.nullcontext,
    told: Told = lambda made: None,
) -> int:
    """Runs from the state's step to the last; returns the step it stopped at.

    Args:
      setup, programs: of this run.
      progress: where to go on; changed in place.
      log: gets progress.
      save: called with the step before it runs, at checkpoints, and at the end.
      stop: asked after every step; True saves and returns early.
      before: called with every step before it runs (profiling).
      spent: gives a block that counts its seconds as "steps" or "refreshes".
      told: gets what each dataset update generated.

    Raises:
      GivenUp: too many updates were not finite.
    """
    config = setup.config
    step, steps = int(first(progress.state.step)), config.update.steps
    sums: dict[str, float] = {}
    counted, starting = 0, True
    while step < steps:
        before(step)
        plan = programs.plan(step)
        if due(step, config.refresh.update_every) and config.refresh.method == "symgen":
            with spent("refreshes"):
                update_dataset(setup, programs, progress, plan, step, told=told)
        if starting:
            log.say("compiling the avatar step")
            if config.density.density_every:
                programs.compile_density(first(progress.state))
        with spent("steps"):
            values = avatar_step(setup, programs, progress, plan, step, log)
            step += 1
            density_step(setup, programs, progress, step)
        if starting:
            log.began(step)
            starting = False
        sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
        counted += 1
        if step % config.runner.log_every == 0 or step == steps:
            means = {name: value / counted for name, value in sums.items()}
            log.step(step, means | counters(progress))
            sums, counted = {}, 0
        if config.runner.image_every and step % config.runner.image_every == 0:
            log.image("dataset", dataset_picture(progress.dataset), step)
        if stop():
            save(step)
            return step
        if step % config.runner.checkpoint_every == 0 or step == steps:
            save(step)
    return step


def due(step: int, every: int) -> bool:
    """Whether something that happens `every` steps, but not at the first, happens before `step`."""
    return step > 0 and step % every == 0


def counters(progress: Progress) -> dict[str, float]:
    """What is counted over the whole run, for the log."""
    return {
        "raster_capacity": progress.capacity,
        "skipped": progress.skipped,
        "rejected": progress.rejected,
        "refreshes": int(progress.dataset.round[~progress.dataset.frozen].sum()),
    }


def avatar_step(
    setup: Setup, programs: Programs, progress: Progress, plan: symgen.Plan, step: int, log: Logger
) -> dict[str, float]:
    """One avatar step on a batch drawn from the dataset; grows the raster until the batch fits."""
    config, grown = setup.config, announce(log.say, step)
    batch: Any
    if config.refresh.method in DISTILLED:
        drawn = distillation.draw(setup, progress.dataset, plan, step)
        batch = drawn.batch, distillation.pulls(setup, programs, progress, drawn, step, grown)
    else:
        batch = draw(setup, progress.dataset, plan, step)

    def attempt(capacity: int) -> tuple[symgen.Metrics, np.ndarray]:
        # A step that overflowed returns the state as it was.
        progress.state, metrics = programs.update(capacity)(progress.state, batch, setup.model)
        metrics = first(metrics)
        return metrics, metrics.overflow

    metrics, progress.capacity = until_fits(attempt, progress.capacity, grown=grown)
    if not metrics.finite:
        progress.skipped += 1
        log.say(f"step {step}: the update was not finite and was skipped ({progress.skipped} so far)")
        if progress.skipped >= config.runner.max_skipped:
            raise GivenUp(
                f"step {step}: {progress.skipped} updates were not finite; lower the learning rates, or look "
                "at the last images in tensorboard/"
            )
        return {}
    names = ("loss", "l1", "perceptual", "position", "scale", "psnr", "gradient")
    return {name: float(getattr(metrics, name)) for name in names}


def draw(setup: Setup, current: Dataset, plan: symgen.Plan, step: int) -> symgen.Batch:
    """The pairs of a step, from the dataset, each over a colour of its own."""
    update, seed = setup.config.update, setup.config.runner.seed
    rng = keys.rng(seed, "draw", step)
    slots, frames = dataset.draw_batch(
        current, plan.active, update.batch, rng, portrait_share=update.portrait_share
    )
    rgb, alpha, camera, flame = dataset.gather(current, slots, frames)
    if update.random_background:
        background = keys.rng(seed, "background", step).random((update.batch, 3), np.float32)
    else:
        background = np.broadcast_to(setup.background, (update.batch, 3))
    return symgen.Batch(rgb, alpha, camera, flame, background, np.ones(update.batch, np.float32))


def density_step(setup: Setup, programs: Programs, progress: Progress, step: int) -> None:
    """Density control after `step` steps, where the schedule asks for it."""
    density, steps = setup.config.density, setup.config.update.steps
    if not density.density_every or step % density.density_every:
        return
    if not density.density_start <= step <= density.density_until * steps:
        return
    key = keys.key(setup.config.runner.seed, "density", step)
    state = programs.density(key, first(progress.state))
    progress.state = replicate(state, setup.devices)


def dataset_picture(shown: Dataset) -> np.ndarray:
    """Rows of samples, columns of frames, as one picture uint8 [M H, T W, 3]."""
    rgb = shown.rgb
    return rgb.transpose(0, 2, 1, 3, 4).reshape(rgb.shape[0] * rgb.shape[2], -1, 3)
