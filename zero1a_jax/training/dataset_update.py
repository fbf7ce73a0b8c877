"""A dataset update: the samples that are due are rendered, conditioned and generated anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from zero1a_jax import keys, symgen
from zero1a_jax.devices import exchanged
from zero1a_jax.devices import rounds as rounds_of
from zero1a_jax.errors import NoFace, Refused
from zero1a_jax.image import landmarks
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.rasterizer import until_fits
from zero1a_jax.symgen import dataset
from zero1a_jax.training import rounds
from zero1a_jax.training.programs import Programs
from zero1a_jax.training.progress import Progress
from zero1a_jax.training.setup import Setup
from zero1a_jax.types import Array, Camera, Dataset, FlameParams

Made = tuple[np.ndarray, np.ndarray, Any, np.ndarray]  # rgb, alpha, reject reason, small: the avatar's own
Told = Callable[[list[rounds.Refreshed]], None]  # gets what an update generated


class Frames(NamedTuple):
    """Frames [D, T, H, W] of samples, one a device."""

    rgb: Any
    alpha: Any
    known: Any  # symgen.Painted: the head at the start as a textured mesh; or None


def first_fill(
    setup: Setup, programs: Programs, progress: Progress, *, told: Told = lambda made: None
) -> None:
    """Generates the active samples from noise: the avatar is not worth inverting yet."""
    if setup.config.refresh.method not in ("symgen", "one_time"):
        return
    plan = programs.plan(0)
    slots = np.flatnonzero(np.asarray(plan.active) & ~progress.dataset.frozen)
    refresh(setup, programs, progress, slots, 0, from_noise=True, told=told)


def update_dataset(
    setup: Setup,
    programs: Programs,
    progress: Progress,
    plan: symgen.Plan,
    step: int,
    *,
    told: Told = lambda made: None,
) -> None:
    """Refreshes the samples that are next, as many as the run's flags say."""
    rng = keys.rng(setup.config.runner.seed, "choose", step)
    slots = choose(progress.dataset, plan.active, setup.config.refresh.samples_per_update, rng)
    refresh(setup, programs, progress, slots, step, from_noise=False, told=told)


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
    told: Told = lambda made: None,
) -> None:
    """Renders, conditions and regenerates the samples `slots`, as many at a time as there are devices.

    `told` gets small pictures of all of them, the rejected ones too.

    Where the raster overflows all of them are made anew: which of them an earlier, smaller raster drew would
    depend on the number of devices.
    """
    views = np.asarray(programs.plan(step).views)
    slots = [int(slot) for slot in slots]
    if not slots:
        return
    shown = [symgen.sequence(setup.samples, slot, views) for slot in slots]

    def attempt(capacity: int) -> tuple[list[Made], Any]:
        if setup.truth is not None:
            nothing = np.full((len(slots), rounds.SHOWN, rounds.SIDE, rounds.SIDE, 3), 255, np.uint8)
            return list(zip(*setup.truth.frames(slots, views), nothing, strict=True)), 0
        made: list[Made] = []
        stacked = jax.tree.map(lambda *x: np.stack(x), *shown)
        for camera, flame, numbers in shares(setup, (*stacked, np.array(slots))):
            frames, overflow = rendered(setup, programs, progress, flame, camera, capacity)
            overflow = exchanged(overflow, setup.devices)
            if np.max(overflow):
                return [], overflow
            own = np.stack([rounds.small(rgb) for rgb in np.asarray(frames.rgb)])  # the next call takes them
            found = generated(
                setup, programs, frames, flame, camera, slots=numbers, step=step, from_noise=from_noise
            )
            found = (*found, own[: len(found[0])])
            made += zip(*exchanged(found, setup.devices), strict=True)
        return made[: len(slots)], 0

    grown = announce(lambda text: print(text, flush=True), step)
    made, progress.capacity = until_fits(attempt, progress.capacity, grown=grown)
    for slot, (camera, flame), (rgb, alpha, reason, _) in zip(slots, shown, made, strict=True):
        progress.rejected += int(reason != dataset.ACCEPTED)
        progress.dataset = dataset.replace(
            progress.dataset, slot, rgb, alpha, camera, flame, reason=int(reason)
        )
    told(
        [
            rounds.Refreshed(
                step, slot, int(progress.dataset.round[slot]), int(reason), own, rounds.small(rgb)
            )
            for slot, (rgb, _, reason, own) in zip(slots, made, strict=True)
        ]
    )


def shares(setup: Setup, tree: Any) -> list[Any]:
    """Leaves [N, ...] as trees [D, ...] of what is made together; with --split_frames of one, repeated."""
    count = len(jax.tree.leaves(tree)[0])
    if not setup.config.runner.split_frames:
        return rounds_of(tree, count, setup.devices)
    copies = len(setup.devices)
    return [jax.tree.map(lambda leaf, i=i: np.stack([leaf[i]] * copies), tree) for i in range(count)]


def rendered(
    setup: Setup, programs: Programs, progress: Progress, flame: FlameParams, camera: Camera, capacity: int
) -> tuple[Frames, np.ndarray]:
    """The avatar's frames [D, T], those of the textured mesh where they count, and the overflow [D]."""
    render = programs.render(capacity)
    rgb, alpha, overflow = render(progress.state.avatar, setup.model, flame, camera)
    if programs.beside is None or programs.paint is None:
        return Frames(rgb, alpha, None), np.asarray(overflow)
    *known, more = render(programs.beside, setup.model, flame, camera)
    known = programs.paint(setup.model, flame, camera, tuple(known))
    return Frames(rgb, alpha, known), np.maximum(overflow, more)


def generated(
    setup: Setup,
    programs: Programs,
    frames: Frames,
    flame: FlameParams,
    camera: Camera,
    *,
    slots: Sequence[int],
    step: int,
    from_noise: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the diffusion makes of `slots` [D], one a device: rgb uint8 [D, T, H, W, 3], alpha, reasons.

    With --split_frames of the first alone: [1, T, H, W, 3].
    """
    rgb, alpha = frames.rgb, frames.alpha
    points, lost = programs.points(setup.model, flame, camera), np.zeros(len(slots), bool)
    if setup.config.refresh.landmarks == "detector" and not from_noise:
        points, lost = detected(setup, rgb, np.array(points))
    conditions = programs.conditions(setup.model, flame, camera, points)
    noise = keys.many(setup.config.runner.seed, "noise", step, slots)
    program = programs.fill if from_noise else programs.refresh
    rgb, alpha, reasons = program(setup.diffusion_params, setup.reference, rgb, alpha, conditions, noise)
    rgb, alpha, made = np.asarray(rgb), np.asarray(alpha), len(reasons)
    known: symgen.Painted | None = frames.known
    if known is not None:
        share = setup.config.refresh.prior_share
        # Colours over a background and alpha are both linear in what covers a pixel.
        rgb = rgb + share * (np.asarray(known.rgb)[:made] - rgb)
        alpha = alpha + share * (np.asarray(known.alpha)[:made] - alpha)
    if programs.carry_over is not None:
        carried = known.carried if known else programs.carry_over(setup.model, flame, camera)
        rgb = symgen.outrank(rgb, jax.tree.map(lambda leaf: np.asarray(leaf)[:made], carried))
    reasons = np.where(lost[:made], dataset.LANDMARKS_LOST, np.asarray(reasons))
    return as_uint8(rgb), as_uint8(alpha), reasons


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
