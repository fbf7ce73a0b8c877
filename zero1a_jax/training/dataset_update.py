"""A dataset update: the samples that are due are rendered, conditioned and generated anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from zero1a_jax import keys, symgen
from zero1a_jax.errors import NoFace, Refused
from zero1a_jax.image import landmarks
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.rasterizer import until_fits
from zero1a_jax.symgen import dataset
from zero1a_jax.training.programs import Programs
from zero1a_jax.training.progress import Progress
from zero1a_jax.training.setup import Setup
from zero1a_jax.types import Array, Avatar, Camera, Dataset, FlameParams


def first_fill(setup: Setup, programs: Programs, progress: Progress) -> None:
    """Generates the active samples from noise: the avatar is not worth inverting yet."""
    if setup.config.refresh.dataset == "none":
        return
    plan = programs.plan(0)
    slots = np.flatnonzero(np.asarray(plan.active) & ~progress.dataset.frozen)
    refresh(setup, programs, progress, slots, 0, from_noise=True)


def update_dataset(
    setup: Setup, programs: Programs, progress: Progress, plan: symgen.Plan, step: int
) -> None:
    """Refreshes the samples that are next, as many as the run's flags say."""
    rng = keys.rng(setup.config.runner.seed, "choose", step)
    slots = choose(progress.dataset, plan.active, setup.config.refresh.samples_per_update, rng)
    refresh(setup, programs, progress, slots, step, from_noise=False)


def choose(current: Dataset, active: Array, count: int, rng: np.random.Generator) -> np.ndarray:
    """Slots to refresh next, int [<= count]: the least often generated active ones, ties at random."""
    open_slots = np.flatnonzero(np.asarray(active) & ~current.frozen)
    order = np.lexsort((rng.permutation(len(open_slots)), current.round[open_slots]))
    return open_slots[order][:count]


def announce(say: Callable[[str], None], step: int) -> Callable[[int], None]:
    """What `until_fits` calls at `step`: says that the raster grows."""
    return lambda capacity: say(
        f"step {step}: the raster overflowed; compiling it for {capacity} intersections"
    )


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
        if setup.truth is None:
            flame, camera = (jax.tree.map(lambda *x: np.stack(x), *trees) for trees in (flames, cameras))
            made = generated(
                setup, programs, progress, flame, camera, slots=padded, step=step, from_noise=from_noise
            )
        else:
            made = setup.truth.frames(share, views)
        new_rgb, new_alpha, reasons = (np.asarray(x) for x in made)
        for i, slot in enumerate(share):
            reason = int(reasons[i])
            progress.rejected += reason != dataset.ACCEPTED
            progress.dataset = dataset.replace(
                progress.dataset, slot, new_rgb[i], new_alpha[i], cameras[i], flames[i], reason=reason
            )


def generated(
    setup: Setup,
    programs: Programs,
    progress: Progress,
    flame: FlameParams,
    camera: Camera,
    *,
    slots: Sequence[int],
    step: int,
    from_noise: bool,
) -> tuple[Any, Any, np.ndarray]:
    """What the diffusion makes of `slots` [D], one a device: rgb [D, T, H, W, 3], alpha, reject reasons."""
    rgb, alpha = rendered(setup, programs, progress, flame, camera, step, avatar=progress.state.avatar)
    points, lost = programs.points(setup.model, flame, camera), np.zeros(len(slots), bool)
    if setup.config.refresh.landmarks == "detector" and not from_noise:
        points, lost = detected(setup, rgb, np.array(points))
    conditions = programs.conditions(setup.model, flame, camera, points)
    noise = keys.many(setup.config.runner.seed, "noise", step, slots)
    program = programs.fill if from_noise else programs.refresh
    rgb, alpha, reasons = program(setup.diffusion_params, setup.reference, rgb, alpha, conditions, noise)
    if programs.first is not None:
        known, _ = rendered(setup, programs, progress, flame, camera, step, avatar=programs.first)
        rgb = programs.blend(rgb, known)
    if programs.outrank is not None:
        rgb = programs.outrank(setup.model, flame, camera, rgb)
    return rgb, alpha, np.where(lost, dataset.LANDMARKS_LOST, np.asarray(reasons))


def rendered(
    setup: Setup,
    programs: Programs,
    progress: Progress,
    flame: FlameParams,
    camera: Camera,
    step: int,
    *,
    avatar: Avatar,
) -> tuple[Any, Any]:
    """An avatar's frames [D, T, H, W, 3] and alpha; grows the raster until they fit."""

    def attempt(capacity: int) -> tuple[tuple[Any, Any], Any]:
        rgb, alpha, overflow = programs.render(capacity)(avatar, setup.model, flame, camera)
        return (rgb, alpha), overflow

    grown = announce(lambda text: print(text, flush=True), step)
    frames, progress.capacity = until_fits(attempt, progress.capacity, grown=grown)
    return frames


def detected(setup: Setup, rgb: Any, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks detected in frames [D, T, H, W, 3], and which samples [D] lost them.

    What a detector does not know (the embedded net has no outline) keeps the mesh's `points`
    [D, T, P, 2], in pixels of the condition image.
    """
    detector = setup.parts.detector
    if detector is None:
        raise Refused("--landmarks=detector needs a detector; give one, or use --landmarks=mesh")
    ids = np.array(landmarks.points_of(setup.parts.diffusion.condition))
    frames = as_uint8(rgb)
    lost = np.zeros(len(frames), bool)
    scale = setup.parts.diffusion.condition_size / frames.shape[-2]
    for d, t in np.ndindex(*frames.shape[:2]):
        try:
            face = detector(frames[d, t])
        except NoFace:  # the whole sample is quarantined
            lost[d] = True
            continue
        found, known = face.lookup(ids)
        points[d, t, known] = found[known] * scale
    return points, lost
