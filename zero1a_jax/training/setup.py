"""What stays the same during a run: the parts it is made of, its sequences, and what lies on the devices."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import drive, keys, symgen
from zero1a_jax.config import DISTILLED, Config, colour
from zero1a_jax.devices import Device, everywhere, replicate, shared_frames
from zero1a_jax.once import bound
from zero1a_jax.provenance import Provenance, of_seed
from zero1a_jax.training import distillation
from zero1a_jax.training.truth_frames import Truth, truth_of
from zero1a_jax.types import ArkitMap, FlameModel, Motion, Portrait


@dataclasses.dataclass(frozen=True)
class Parts:
    """What other packages contribute to a run. Tests put fakes here."""

    model: FlameModel
    portrait: Portrait
    diffusion: symgen.Diffusion
    diffusion_params: Any
    render: Callable[..., Any]  # rasterizer.render
    suggest_capacity: Callable[..., int]  # rasterizer.suggest_capacity
    perceptual: Callable[..., Any]  # (image, target) [H, W, 3] to a scalar
    detector: Callable[[np.ndarray], Any] | None = None
    motions: Sequence[Motion] = ()  # of --motions, in its order
    arkit: ArkitMap | None = None  # for a head without ARKit names, see sources.arkit_table


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything that stays the same during a run. Replicated trees have the device axis in front."""

    config: Config
    parts: Parts
    samples: symgen.Samples
    devices: tuple[Device, ...]
    background: np.ndarray  # [3]
    model: FlameModel  # replicated
    diffusion_params: Any  # replicated; with --split_frames on the devices as one array
    reference: Any  # the same
    negative: Any  # the reference of a spoilt portrait, replicated; with --method=nfsd, else the reference
    truth: Truth | None  # with --teacher=truth
    provenance: Provenance  # what the results say about themselves


def build(config: Config, parts: Parts, devices: Sequence[Device]) -> Setup:
    """Builds the sequences from the seed, conditions the diffusion on the portrait, fills the devices."""
    curriculum = config.curriculum
    if config.refresh.method not in ("symgen", *DISTILLED):  # nothing is refreshed, so nothing can unroll
        curriculum = dataclasses.replace(curriculum, progressive=False)
        config = dataclasses.replace(config, curriculum=curriculum)
    distillation.check(config.refresh.method, parts.diffusion)
    samples = symgen.build_samples(
        keys.key(config.runner.seed, "samples"),
        parts.model,
        parts.portrait,
        curriculum,
        # Whatever a file's rate, a sample lasts as long.
        motions=[drive.resample(motion, symgen.MOTION_FPS).flame for motion in parts.motions],
        arkit=parts.arkit,
    )
    truth = None
    if config.refresh.teacher == "truth":
        own = keys.key(config.runner.seed, "samples")
        behind = _background(config.input.background)
        truth = truth_of(config.input.image, own, parts.model, parts.portrait, curriculum, behind)
    condition = jax.jit(bound(condition_on_portrait, parts.diffusion))
    spread, shared = replicate, devices
    if config.runner.split_frames:
        spread, shared = everywhere, shared_frames(config.curriculum.frames, devices)
    reference = spread(condition(parts.diffusion_params, parts.model, parts.portrait), shared)
    negative = reference
    if config.refresh.method == "nfsd":
        unwanted = parts.portrait.replace(rgb=distillation.spoilt(parts.portrait.rgb))
        negative = spread(condition(parts.diffusion_params, parts.model, unwanted), shared)
    return Setup(
        config=config,
        parts=parts,
        samples=samples,
        devices=tuple(devices),
        background=_background(config.input.background),
        model=replicate(parts.model, devices),
        diffusion_params=spread(parts.diffusion_params, shared),
        reference=reference,
        negative=negative,
        truth=truth,
        provenance=of_seed(config.runner.seed, label=config.runner.label),
    )


@functools.cache
def _background(name: str) -> np.ndarray:
    """[3], one object for a colour: programs that have it as a constant are then the same."""
    found = np.array(colour(name), np.float32)
    found.flags.writeable = False
    return found


def condition_on_portrait(
    diffusion: symgen.Diffusion, params: Any, model: FlameModel, portrait: Portrait
) -> Any:
    """The diffusion's reference: the portrait, and its own condition image."""
    own = symgen.condition_images(
        model, portrait.flame, portrait.camera, size=diffusion.condition_size, kind=diffusion.condition
    )
    return diffusion.reference(params, jnp.asarray(portrait.rgb), own)
