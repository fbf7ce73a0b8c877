"""The loop: the dataset is refreshed by the avatar's renders, the avatar is fitted to the dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from experiments import parallel
from experiments.assemble import Progress, Setup
from experiments.programs import Programs
from zero1a_jax import symgen
from zero1a_jax.image import landmarks as landmark_image
from zero1a_jax.symgen import dataset as cache
from zero1a_jax.types import Camera, FlameParams


class GivenUp(RuntimeError):
    """The run cannot go on; the message says at which step and what to try."""


class Logger(Protocol):
    """What the loop tells the outside."""

    def say(self, text: str) -> None: ...
    def began(self, step: int) -> None: ...
    def step(self, step: int, values: dict[str, float]) -> None: ...
    def image(self, name: str, image: np.ndarray, step: int) -> None: ...


def first_fill(setup: Setup, programs: Programs, progress: Progress) -> None:
    """Generates the active samples from noise: the avatar is not worth inverting yet."""
    if setup.config.generation.dataset == "none":
        return
    plan = programs.plan(0)
    slots = np.flatnonzero(np.asarray(plan.active) & ~progress.dataset.frozen)
    refresh(setup, programs, progress, slots, 0, from_noise=True)


def train(
    setup: Setup,
    programs: Programs,
    progress: Progress,
    log: Logger,
    *,
    save: Callable[[int], None],
    stop: Callable[[], bool],
    before: Callable[[int], None] = lambda step: None,
) -> int:
    """Runs from the state's step to the last; returns the step it stopped at.

    Args:
      setup, programs: of this run.
      progress: where to go on; changed in place.
      log: gets progress.
      save: called with the step before it runs, at checkpoints, and at the end.
      stop: asked after every step; True saves and returns early.
      before: called with every step before it runs (profiling).

    Raises:
      GivenUp: too many updates were not finite.
    """
    config = setup.config
    step, steps = int(parallel.first(progress.state.step)), config.optimisation.steps
    sums: dict[str, float] = {}
    counted, first = 0, True
    while step < steps:
        before(step)
        plan = programs.plan(step)
        if due(step, config.generation.update_every) and config.generation.dataset == "iterative":
            rng = parallel.rng(config.runner.seed, "choose", step)
            slots = cache.choose(progress.dataset, plan.active, config.generation.samples_per_update, rng)
            refresh(setup, programs, progress, slots, step, from_noise=False)
        if first:
            log.say("compiling the avatar step")
            if config.density.density_every:
                programs.compile_density(parallel.first(progress.state))
        values = avatar_step(setup, programs, progress, plan, step, log)
        step += 1
        if first:
            log.began(step)
            first = False
        control_density(setup, programs, progress, step)
        sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
        counted += 1
        if step % config.runner.log_every == 0 or step == steps:
            means = {name: value / counted for name, value in sums.items()}
            log.step(step, means | counters(progress))
            sums, counted = {}, 0
        if config.runner.image_every and step % config.runner.image_every == 0:
            log.image("dataset", overview(progress.dataset), step)
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
    config = setup.config
    count, seed = config.optimisation.batch, config.runner.seed
    slots, frames = cache.draw(
        progress.dataset, plan.active, count, parallel.rng(seed, "draw", step),
        portrait_share=config.optimisation.portrait_share,
    )  # fmt: skip
    rgb, alpha, camera, flame = cache.gather(progress.dataset, slots, frames)
    if config.optimisation.random_background:
        background = parallel.rng(seed, "background", step).random((count, 3), np.float32)
    else:
        background = np.broadcast_to(setup.background, (count, 3))
    (rgb, alpha, camera, flame, background), weight = parallel.split(
        (rgb, alpha, camera, flame, background), count, len(setup.devices)
    )
    batch = symgen.Batch(rgb, alpha, camera, flame, background, weight)
    while True:
        progress.state, metrics = programs.update(progress.capacity)(progress.state, batch, setup.model)
        metrics = parallel.first(metrics)
        if metrics.overflow == 0:
            break
        grow(progress, log.say, step)
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


def grow(progress: Progress, say: Callable[[str], None], step: int) -> None:
    """Doubles the raster's capacity after an overflow. What overflowed was discarded and is repeated."""
    progress.capacity *= 2
    say(f"step {step}: the raster overflowed; compiling it for {progress.capacity} intersections")


def control_density(setup: Setup, programs: Programs, progress: Progress, step: int) -> None:
    """Density control after `step` steps, where the schedule asks for it."""
    density, steps = setup.config.density, setup.config.optimisation.steps
    if not density.density_every or step % density.density_every:
        return
    if not density.density_start <= step <= density.density_until * steps:
        return
    key = parallel.key(setup.config.runner.seed, "density", step)
    state = programs.density(key, parallel.first(progress.state))
    progress.state = parallel.replicate(state, setup.devices)


def refresh(
    setup: Setup,
    programs: Programs,
    progress: Progress,
    slots: Sequence[int] | np.ndarray,
    step: int,
    *,
    from_noise: bool,
) -> None:
    """Renders, conditions and regenerates the samples `slots`, as many at a time as there are devices."""
    views = np.asarray(programs.plan(step).views)
    devices = len(setup.devices)
    together = 1 if setup.config.runner.split_frames else devices
    slots = [int(slot) for slot in slots]
    for begin in range(0, len(slots), together):
        share = slots[begin : begin + together]
        padded = share + share[:1] * (devices - len(share))
        cameras, flames = zip(*(symgen.sequence(setup.samples, s, views) for s in padded), strict=True)
        camera, flame = (jax.tree.map(lambda *x: np.stack(x), *trees) for trees in (cameras, flames))
        rgb, alpha = rendered(setup, programs, progress, flame, camera, step)
        points, lost = programs.points(setup.model, flame, camera), np.zeros(devices, bool)
        if setup.config.generation.landmarks == "detector" and not from_noise:
            points, lost = detected(setup, rgb, np.array(points))
        conditions = programs.conditions(setup.model, flame, camera, points)
        keys = parallel.keys(setup.config.runner.seed, "noise", step, padded)
        program = programs.fill if from_noise else programs.refresh
        new = program(setup.diffusion_params, setup.reference, rgb, alpha, conditions, keys)
        new_rgb, new_alpha, reasons = (np.asarray(x) for x in new)
        for i, slot in enumerate(share):
            reason = cache.LANDMARKS_LOST if lost[i] else int(reasons[i])
            progress.rejected += reason != cache.ACCEPTED
            progress.dataset = cache.replace(
                progress.dataset, slot, new_rgb[i], new_alpha[i], cameras[i], flames[i], reason=reason
            )


def rendered(
    setup: Setup, programs: Programs, progress: Progress, flame: FlameParams, camera: Camera, step: int
) -> tuple[Any, Any]:
    """The avatar's frames [D, T, H, W, 3] and alpha; grows the raster until they fit."""
    while True:
        program = programs.render(progress.capacity)
        rgb, alpha, overflow = program(progress.state.avatar, setup.model, flame, camera)
        if int(np.max(np.asarray(overflow))) == 0:
            return rgb, alpha
        grow(progress, lambda text: print(text, flush=True), step)


def detected(setup: Setup, rgb: Any, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks detected in frames [D, T, H, W, 3], and which samples [D] lost them.

    What a detector does not know (the embedded net has no outline) keeps the mesh's `points`
    [D, T, P, 2], in pixels of the condition image.
    """
    detector = setup.parts.detector
    if detector is None:
        raise ValueError("--landmarks=detector needs a detector; give one, or use --landmarks=mesh")
    ids = np.array(landmark_image.points_of(setup.parts.diffusion.condition))
    frames = cache.to_uint8(rgb)
    lost = np.zeros(len(frames), bool)
    scale = setup.parts.diffusion.condition_size / frames.shape[-2]
    for d, t in np.ndindex(*frames.shape[:2]):
        try:
            face = detector(frames[d, t])
        except ValueError:  # the detector's word for "no face": the whole sample is quarantined
            lost[d] = True
            continue
        found, known = face.lookup(ids)
        points[d, t, known] = found[known] * scale
    return points, lost


def overview(dataset: Any) -> np.ndarray:
    """Rows of samples, columns of frames, as one picture uint8 [M H, T W, 3]."""
    rgb = dataset.rgb
    return rgb.transpose(0, 2, 1, 3, 4).reshape(rgb.shape[0] * rgb.shape[2], -1, 3)

