"""Puts the parts together: a config to the pure functions that the outside calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.diffusion import blocks, image_encoder, sample, schedule, vae
from zero1a_jax.diffusion.checks import expect, expect_images
from zero1a_jax.diffusion.config import POSE_REDUCTION, DiffusionConfig
from zero1a_jax.diffusion.denoising_unet import DenoisingUNet
from zero1a_jax.diffusion.pose_guider import PoseGuider
from zero1a_jax.diffusion.reference_unet import ReferenceUNet

Array = jax.Array


class Reference(NamedTuple):
    """What a portrait gives to the denoiser; made once a video."""

    bank: tuple[Array, ...]  # [1, N, C] each, in the order of execution
    context: Array  # [1, 1, D]


class VideoDiffusion(NamedTuple):
    """A portrait video diffusion model as pure functions; the parameters are the first argument.

    Frames and images are channel-last, in 0..1. Height H and width W are any multiples of config.reduction:
    latents are h = H / reduction by w = W / reduction with C = config.latent_channels, and condition images
    8h by 8w (the pose guider reduces by 8). T is any number of frames. frame_size and condition_size are the
    sides of what the model was made for. The portrait has the video's size, or any other. All functions
    raise ValueError at once where shapes do not fit.

    init(key) -> params: random parameters, float32. `cast` gives the UNets' the type they compute in.
    reference(params, rgb [H, W, 3], condition [8h, 8w, 3] or None) -> Reference. The condition image of
        the portrait is needed where config.reference_pose is set and ignored elsewhere.
    encode(params, frames [T, H, W, 3]) -> latents [T, h, w, C];  decode is its inverse, clipped to 0..1.
    invert(params, latents, reference, conditions [T, 8h, 8w, 3], *, steps, strength=1.0, iterations=3,
        guidance=1.0) -> latents at the noisy end.
    denoise(params, latents, reference, conditions, *, steps, strength=1.0, guidance=1.0) -> latents.
        steps is the number of model evaluations (for invert: times `iterations`), strength the fraction of
        the noise at which they start. guidance 0 (ignores the portrait) and 1 cost one evaluation a step, any
        other value two.
        steps, strength and iterations are static; guidance may be traced, and then always costs two.
    velocity(params, latents, timestep, reference, conditions, *, guidance=1.0) -> v at one timestep.
    bars: numpy [train_steps], the signal power of every timestep.
    """

    config: DiffusionConfig
    init: Callable[[Array], Any]
    reference: Callable[..., Reference]
    encode: Callable[..., Array]
    decode: Callable[..., Array]
    invert: Callable[..., Array]
    denoise: Callable[..., Array]
    velocity: Callable[..., Array]
    bars: Any

    @property
    def frame_size(self) -> int:
        """Side of the frames that the model was made for, pixels."""
        return self.config.frame_size

    @property
    def condition_size(self) -> int:
        """Side of their condition images, pixels."""
        return self.config.condition_size

    @property
    def condition(self) -> str:
        """What the condition images show."""
        return self.config.condition


@functools.cache  # one object for a config: programs of it are then compiled once, see `once.bound`
def build(config: DiffusionConfig) -> VideoDiffusion:
    """The functions of a model of these sizes. Raises ValueError at once where arguments do not fit."""
    return VideoDiffusion(
        config=config,
        init=functools.partial(init, config),
        reference=functools.partial(reference, config),
        encode=lambda params, frames: vae.encode(params["vae"], frames, config),
        decode=lambda params, latents: vae.decode(params["vae"], latents, config),
        invert=functools.partial(invert, config),
        denoise=functools.partial(denoise, config),
        velocity=functools.partial(velocity, config),
        bars=schedule.bars_of(config),
    )


def init(config: DiffusionConfig, key: Array) -> dict:
    """Random parameters {"vae", "image_encoder", "pose_guider", "reference", "denoiser"}.

    "reference" is left out where config.shared_unets is set.
    """
    keys = jax.random.split(key, 5)
    params = {"vae": vae.init(keys[0], config), "image_encoder": image_encoder.init(keys[1], config)}
    side, channels = config.latent_size, config.latent_channels
    latents, context = jnp.zeros((1, side, side, channels)), jnp.zeros((1, 1, config.context_channels))
    images = jnp.zeros((1, config.condition_size, config.condition_size, 3))
    pose, made = jax.jit(PoseGuider(config).init_with_output)(keys[2], images)
    params["pose_guider"] = made["params"]
    own = pose if config.reference_pose else None
    bank, made = jax.jit(ReferenceUNet(config).init_with_output)(keys[3], latents, context, own)
    if not config.shared_unets:
        params["reference"] = made["params"]
    pose = [feature[:, None] for feature in pose]
    params["denoiser"] = jax.jit(DenoisingUNet(config).init)(
        keys[4], latents[:, None], jnp.zeros(1), context, bank, jnp.ones(1), pose
    )["params"]
    return params


def cast(config: DiffusionConfig, params: dict) -> dict:
    """The parameters with those of the UNets in config.dtype, which is all that the functions use.

    Cast them once, to hold no float32 copies: the UNets of the published size are 4.3 GB in bfloat16.
    """
    unets = [name for name in ("reference", "denoiser") if name in params]
    return {**params, **{name: blocks.cast(params[name], config.dtype) for name in unets}}


def bank_of(
    config: DiffusionConfig, params: dict, rgb: Array, latents: Array, conditions: Array | None
) -> Reference:
    """A batch of portraits [B, H, W, 3], their latents and condition images -> Reference with leading B."""
    pixels = image_encoder.preprocess(rgb, config)
    context = image_encoder.embed(params["image_encoder"], pixels, config)[:, None]
    pose = None
    if config.reference_pose and conditions is not None:
        pose = pose_features(config, params, conditions)
    weights = params["denoiser" if config.shared_unets else "reference"]
    if config.precondition:
        latents = latents / jnp.sqrt(params["vae"]["power"])
    bank: Any = ReferenceUNet(config).apply({"params": weights}, latents, context, pose)
    return Reference(tuple(bank), context)


def pose_features(config: DiffusionConfig, params: dict, conditions: Array) -> list[Array]:
    """Condition images [B, 8h, 8w, 3] -> the pose guider's features, each [B, ...]."""
    features: Any = PoseGuider(config).apply({"params": params["pose_guider"]}, conditions)
    return features


def reference(config: DiffusionConfig, params: dict, rgb: Array, condition: Array | None = None) -> Reference:
    """See VideoDiffusion."""
    expect_images("rgb", rgb, config.reduction)
    params = cast(config, params)
    if config.reference_pose:
        if condition is None:
            raise ValueError("this model wants the portrait's condition image too: give `condition`.")
        height, width = (side // config.reduction for side in rgb.shape[:2])
        expect("condition", condition, *_beside(height, width))
        condition = condition[None]
    latents = vae.encode(params["vae"], rgb[None], config)
    return bank_of(config, params, rgb[None], latents, condition)


def predict(
    config: DiffusionConfig,
    params: dict,
    latents: Array,
    timesteps: Array,
    given: Reference,
    *,
    pose: list[Array],
    read: Array | np.ndarray,
    motion: bool = True,
) -> Array:
    """Velocity of latents [B, F, h, w, C]; where read [B] is 0 neither bank nor context are seen (a numpy
    `read` must have those first, and saves their work).

    pose: features [B, F, ...]; given has leading axis B; timesteps [B] or [B, F].
    """
    context = given.context * read[:, None, None]
    inner, skip, out = latents, 0.0, 1.0
    if config.precondition:
        scale, skip, out = _preconditioning(config, params["vae"]["power"], timesteps)
        inner = latents * scale
    velocity: Any = DenoisingUNet(config).apply(
        {"params": params["denoiser"]}, inner, timesteps, context, given.bank, read, pose, motion
    )
    velocity = velocity * out + latents * skip
    if config.prediction == "noise":
        return schedule.velocity_of(latents, velocity, _bar(config, timesteps))
    return velocity


def _bar(config: DiffusionConfig, timesteps: Array) -> Array:
    """Signal power of timesteps [B] or [B, F], to be broadcast over latents [B, F, h, w, C]."""
    bar = jnp.asarray(schedule.bars_of(config), jnp.float32)[timesteps]
    return (bar[:, None] if bar.ndim == 1 else bar)[..., None, None, None]


def _preconditioning(config: DiffusionConfig, power: Array, timesteps: Array) -> tuple[Array, Array, Array]:
    """Factors of input, skip and output for latents of variance `power` [C], timesteps [B] or [B, F].

    x_t has variance s = a power + 1 - a; the best linear estimate of v from x_t is
    sqrt(a (1-a)) (1 - power) / s x_t and leaves the variance power / s (as in Karras et al. 2022, table 1).
    """
    bar = _bar(config, timesteps)
    spread = bar * power + 1 - bar
    return spread**-0.5, jnp.sqrt(bar * (1 - bar)) * (1 - power) / spread, jnp.sqrt(power / spread)


def _solver(
    config: DiffusionConfig, params: dict, latents: Array, given: Reference, conditions: Array, guidance
):
    """velocity(latents [T, ...], timestep) with guidance, over context windows."""
    expect("latents", latents, ("T", "h", "w", config.latent_channels))
    expect("conditions", conditions, *_beside(*latents.shape[1:3], frames=len(latents)))
    params, conditions = cast(config, params), jnp.asarray(conditions)
    windows = schedule.windows(latents.shape[0], config.window, config.overlap)

    def pose_of(indices) -> list[Array]:
        return blocks.cast(pose_features(config, params, conditions[indices]), config.dtype)

    # Batch norm on the batch's own statistics depends on the window, so features belong to windows.
    if len(windows) == 1:
        features = [feature[None] for feature in pose_of(windows[0])]
    else:
        features = jax.lax.map(pose_of, jnp.asarray(windows))
    if isinstance(guidance, int | float) and guidance == 1:
        read = np.ones(1, np.float32)
    elif isinstance(guidance, int | float) and guidance == 0:
        read = np.zeros(1, np.float32)
    else:
        read = np.array([0.0, 1.0], np.float32)
    batch, motion = len(read), latents.shape[0] >= config.motion_least
    given = jax.tree.map(lambda x: jnp.broadcast_to(x, (batch, *x.shape[1:])), given)

    def velocity(x: Array, timestep: Array) -> Array:
        def one(frames: Array, window) -> Array:
            pose = [jnp.broadcast_to(f[window], (batch, *f.shape[1:])) for f in features]
            frames = jnp.broadcast_to(frames, (batch, *frames.shape))
            return predict(
                config,
                params,
                frames,
                jnp.broadcast_to(timestep, (batch,)),
                given,
                pose=pose,
                read=read,
                motion=motion,
            )

        v = sample.windowed(one, x, windows, batch)
        return v[0] if batch == 1 else sample.guided(v, guidance)

    return velocity


def _tables(config: DiffusionConfig, steps: int, strength: float) -> schedule.Steps:
    bars = schedule.bars_of(config)
    return schedule.sampler_steps(bars, steps, strength)


def invert(
    config: DiffusionConfig,
    params: dict,
    latents: Array,
    reference: Reference,
    conditions: Array,
    *,
    steps: int,
    strength: float = 1.0,
    iterations: int = 3,
    guidance: float | Array = 1.0,
) -> Array:
    """See VideoDiffusion."""
    tables = _tables(config, steps, strength)
    velocity = _solver(config, params, latents, reference, conditions, guidance)
    return sample.invert(velocity, latents, tables, iterations)


def denoise(
    config: DiffusionConfig,
    params: dict,
    latents: Array,
    reference: Reference,
    conditions: Array,
    *,
    steps: int,
    strength: float = 1.0,
    guidance: float | Array = 1.0,
) -> Array:
    """See VideoDiffusion."""
    tables = _tables(config, steps, strength)
    return sample.denoise(_solver(config, params, latents, reference, conditions, guidance), latents, tables)


def velocity(
    config: DiffusionConfig,
    params: dict,
    latents: Array,
    timestep: Array,
    reference: Reference,
    conditions: Array,
    *,
    guidance: float | Array = 1.0,
) -> Array:
    """See VideoDiffusion."""
    return _solver(config, params, latents, reference, conditions, guidance)(latents, jnp.asarray(timestep))


def _beside(height: int, width: int, frames: int | None = None) -> tuple[tuple[int, ...], str]:
    """The shape of the condition images beside latents of these sides, and why it is that one."""
    shape = (POSE_REDUCTION * height, POSE_REDUCTION * width, 3)
    why = f", {POSE_REDUCTION} pixels a side to each of {height} x {width} latents"
    return shape if frames is None else (frames, *shape), why
