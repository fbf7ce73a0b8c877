"""Score distillation in place of a dataset (--method=sds, ism, nfsd): what SymGEN is compared with.

A step draws its pairs as ever, but those that are not the portrait are frames of one sample. The sample is
rendered whole, since the diffusion looks at all of its frames; the score's gradient goes back through the
encoder to the frames' colours, and from there, as a `pull`, through the rasterizer in the avatar's step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import keys, symgen
from zero1a_jax.config import DISTILLED, Refresh
from zero1a_jax.devices import first, mine
from zero1a_jax.diffusion import distill
from zero1a_jax.errors import Refused
from zero1a_jax.rasterizer import until_fits
from zero1a_jax.symgen import dataset
from zero1a_jax.types import Dataset

if TYPE_CHECKING:  # they are made with what stands here
    from zero1a_jax.training.programs import Programs
    from zero1a_jax.training.progress import Progress
    from zero1a_jax.training.setup import Setup

Array = jax.Array
TIMESTEPS = (0.02, 0.98)  # the range that timesteps are drawn from, as shares (Poole et al. 2022)
BLUR = 4  # the spoilt portrait of NFSD is the mean of so many pixels a side


class Drawn(NamedTuple):
    """The pairs of a step."""

    batch: symgen.Batch  # [B]; weight 1: a pair of the portrait, 0: a frame of the sample
    sample: Any  # Camera [T] and FlameParams [T]
    slot: int  # of the sample
    frames: np.ndarray  # [B], which frame of the sample or the portrait


def check(method: str, diffusion: Any) -> None:
    """Raises Refused where the method needs what the diffusion does not have."""
    if method in DISTILLED and not (hasattr(diffusion, "velocity") and hasattr(diffusion, "bars")):
        raise Refused(
            f"--method={method} needs `velocity` and `bars` of a diffusion: see docs/own_diffusion.md"
        )


def spoilt(rgb: Any) -> Array:
    """The portrait [H, W, 3] without its detail and its colours: what NFSD pulls away from."""
    height, width = rgb.shape[:2]
    grey = jnp.broadcast_to(jnp.asarray(rgb).mean(-1, keepdims=True), rgb.shape)
    small = jax.image.resize(grey, (height // BLUR, width // BLUR, 3), "linear")
    return jax.image.resize(small, rgb.shape, "linear")


def frame_gradient(
    diffusion: Any,
    params: Any,
    reference: Any,
    rgb: Array,
    conditions: Array,
    *,
    negative: Any,
    timestep: Array,
    key: jax.Array,
    config: Refresh,
) -> Array:
    """The gradient of score distillation with respect to frames.

    Args:
      diffusion, params, reference: as for `symgen.refresh`.
      rgb: [T, H, W, 3] in 0..1. conditions: [T, S, S, 3].
      negative: the reference of the spoilt portrait; only NFSD looks at it.
      timestep: [] int. key: of the noise.
      config: method, distill_guidance, distill_weight.

    Returns:
      [T, H, W, 3]: that of the mean over a frame's latents, times the weight.
    """
    latents, back = jax.vjp(lambda frames: diffusion.encode(params, frames), rgb)
    velocity = distill.of_model(diffusion, params, reference, conditions)
    noise = jax.random.normal(key, latents.shape, latents.dtype)
    bars, guidance = np.asarray(diffusion.bars), config.distill_guidance
    if config.method == "sds":
        score = distill.sds(velocity, bars, latents, timestep, noise, guidance=guidance)
    elif config.method == "ism":
        score = distill.ism(velocity, bars, latents, timestep, guidance=guidance)
    else:
        unwanted = distill.of_model(diffusion, params, negative, conditions)
        score = distill.nfsd(velocity, bars, latents, timestep, noise, negative=unwanted, guidance=guidance)
    count = latents[0].size
    (gradient,) = back(config.distill_weight / count * score)
    return gradient


def draw(setup: Setup, portraits: Dataset, plan: symgen.Plan, step: int) -> Drawn:
    """The pairs of a step: each the portrait with --portrait_share, else a frame of one active sample.

    `portraits` is the dataset, of which the portrait's slot alone is looked at.
    """
    config, seed = setup.config, setup.config.runner.seed
    count, length = config.update.batch, config.curriculum.frames
    rng = keys.rng(seed, "draw", step)
    open_slots = np.flatnonzero(np.asarray(plan.active) & ~portraits.frozen)
    slot = int(rng.choice(open_slots)) if len(open_slots) else 0
    own = (rng.random(count) < config.update.portrait_share) | (not len(open_slots))
    frames = rng.integers(0, length, count)
    rgb, alpha, *there = dataset.gather(portraits, np.zeros(count, np.int64), frames)
    sample = symgen.sequence(setup.samples, slot, np.asarray(plan.views))

    def chosen(of_portrait: Any, of_sample: Any) -> np.ndarray:
        mask = own.reshape(-1, *[1] * (np.ndim(of_portrait) - 1))
        return np.where(mask, of_portrait, np.asarray(of_sample)[frames])

    camera, flame = jax.tree.map(chosen, tuple(there), sample)
    background = np.broadcast_to(setup.background, (count, 3))
    if config.update.random_background:
        random = keys.rng(seed, "background", step).random((count, 3), np.float32)
        background = np.where(own[:, None], random, background)
    batch = symgen.Batch(rgb, alpha, camera, flame, background.astype(np.float32), own.astype(np.float32))
    return Drawn(batch, sample, slot, frames)


def pulls(
    setup: Setup,
    programs: Programs,
    progress: Progress,
    drawn: Drawn,
    step: int,
    grown: Callable[[int], None],
) -> np.ndarray:
    """What pulls at each pair of the step, [B, H, W, 3]; zeros for the portrait's."""
    own = drawn.batch.weight > 0
    if own.all():
        return np.zeros(drawn.batch.rgb.shape, np.float32)
    seed, devices = setup.config.runner.seed, len(mine(setup.devices))
    camera, flame = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * devices), drawn.sample)

    def attempt(capacity: int) -> tuple[Any, Any]:
        rgb, _, overflow = programs.render(capacity)(progress.state.avatar, setup.model, flame, camera)
        return rgb, np.asarray(overflow)

    rgb, progress.capacity = until_fits(attempt, progress.capacity, grown=grown)
    points = programs.points(setup.model, flame, camera)
    conditions = programs.conditions(setup.model, flame, camera, points)
    low, high = (round(share * len(setup.parts.diffusion.bars)) for share in TIMESTEPS)
    timestep = keys.rng(seed, "timestep", step).integers(low, high)
    noise = keys.many(seed, "noise", step, [drawn.slot] * devices)
    gradient = programs.frame_gradient(
        setup.diffusion_params,
        setup.reference,
        setup.negative,
        rgb,
        conditions,
        np.full(devices, timestep, np.int32),
        noise,
    )
    return np.where(own[:, None, None, None], np.float32(0), first(gradient)[drawn.frames])
