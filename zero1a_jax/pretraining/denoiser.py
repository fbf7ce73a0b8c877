"""The spatial stage (pose guider, image encoder, UNets on single frames) and the motion modules' on clips."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.diffusion import DiffusionConfig, model, schedule, vae
from zero1a_jax.pretraining import degrade, loop
from zero1a_jax.pretraining.data import Cache

TRAINED = ("image_encoder", "pose_guider", "denoiser", "reference")
DROPPED = 0.10  # of the portraits: zero context and no reference
DEGRADED = 0.55  # of the frames start from a degraded picture and lead to the truth
RESTORE_FROM = 200  # timesteps below do not see degraded pictures: there they would pass for the truth


def timesteps(key: jax.Array, shape: tuple[int, int], train_steps: int) -> jax.Array:
    """Stratified over the batch, biased to the noisy end."""
    first, second = jax.random.split(key)
    count = shape[0] * shape[1]
    u = (jnp.arange(count) + jax.random.uniform(first, (count,))) / count
    u = jax.random.permutation(second, u).reshape(shape)
    return jnp.clip(jnp.floor((1 - u**1.3) * train_steps), 0, train_steps - 1).astype(jnp.int32)


def loss(config: DiffusionConfig, motion: bool) -> Callable:
    """The v-prediction loss. The batch's "frozen" parameters, the autoencoder among them, are laid under the
    trained ones; with motion all frames of a clip share their timestep."""
    bars = jnp.asarray(schedule.bars_of(config), jnp.float32)
    side = config.latent_size

    def value(params: dict, data: dict, key: jax.Array):
        params = merge(data["frozen"], params)
        keys = jax.random.split(key, 6)
        frames = data["rgb"].astype(jnp.float32) / 255
        cover = data["alpha"].astype(jnp.float32) / 255
        condition = data["condition"].astype(jnp.float32) / 255
        batch, count = frames.shape[0], frames.shape[1] - 1
        drafts = data["draft"].astype(jnp.float32)[:, 1:] / 255
        spoilt = _spoil(keys[5], frames[:, 1:], cover[:, 1:], drafts)
        both = jnp.concatenate([frames, spoilt], 1)
        latents = vae.encode(params["vae"], both.reshape(-1, *both.shape[2:]), config)
        latents = latents.reshape(batch, -1, *latents.shape[1:])
        truth, spoilt = latents[:, 1 : count + 1], latents[:, count + 1 :]
        given = model.bank_of(config, params, frames[:, 0], latents[:, 0], condition[:, 0])
        pose = model.pose_features(config, params, condition[:, 1:].reshape(-1, *condition.shape[2:]))
        pose = [feature.reshape(batch, count, *feature.shape[1:]) for feature in pose]

        time = timesteps(keys[0], (batch, 1 if motion else count), config.train_steps)
        time = jnp.broadcast_to(time, (batch, count))
        bar = bars[time][..., None, None, None]
        read = (jax.random.uniform(keys[1], (batch,)) >= DROPPED).astype(jnp.float32)
        spoil = jax.random.uniform(keys[2], (batch, 1 if motion else count)) < DEGRADED
        spoil = (spoil & (time >= RESTORE_FROM))[..., None, None, None]
        seen = read[:, None, None, None, None] > 0
        start = jnp.where(spoil, spoilt, truth)
        noise = jax.random.normal(keys[3], truth.shape)
        noisy = schedule.add_noise(start, noise, bar)
        # From a degraded start the target leads to the truth; without a portrait the model learns degraded
        # pictures as they are, so that guidance also points away from them.
        target = schedule.velocity(start, noise, bar)
        restoring = (jnp.sqrt(bar) * noisy - truth) / jnp.sqrt(1 - bar)
        restore = spoil & seen
        target = jnp.where(restore, restoring, target)
        v = model.predict(config, params, noisy, time, given, pose=pose, read=read, motion=motion)

        cover = data["alpha"].astype(jnp.float32)[:, 1:] / 255
        cover = cover.reshape(batch, count, side, config.frame_size // side, side, -1).mean((3, 5))
        weight = (0.3 + cover)[..., None] * jnp.where(restore, 1 - bar, 1.0)
        # Coarse latents weigh more in the picture: by the square root of their variance.
        channel = jnp.sqrt(params["vae"]["power"]) if config.precondition else jnp.ones(latents.shape[-1])
        error = ((v - target) ** 2 * weight * channel / channel.mean()).mean((2, 3, 4))
        clean = seen[..., 0, 0, 0] & ~spoil[..., 0, 0, 0]
        high = clean & (time > 0.8 * config.train_steps)
        low = clean & ~high
        return error.mean(), {
            "high": (error * high).sum() / (high.sum() + 1e-6),
            "low": (error * low).sum() / (low.sum() + 1e-6),
        }

    return value


def _spoil(key: jax.Array, frames: jax.Array, cover: jax.Array, drafts: jax.Array) -> jax.Array:
    """Degraded versions of frames [B, T, H, W, 3], a half of them made from the drafts."""
    flat, cover, drafts = (x.reshape(-1, *x.shape[2:]) for x in (frames, cover, drafts))
    keys = jax.random.split(key, len(flat))
    return jax.vmap(degrade.random_mix)(keys, flat, cover, drafts).reshape(frames.shape)


def merge(base: dict, over: dict) -> dict:
    """Nested dictionaries: `over` wins, key by key."""
    out = dict(base)
    for name, leaf in over.items():
        out[name] = merge(base[name], leaf) if isinstance(leaf, dict) and name in base else leaf
    return out


def select(tree: dict, keep: Callable[[str], bool], path: str = "") -> dict:
    """The part of a nested dictionary whose leaves' paths fulfil `keep`."""
    out = {}
    for name, leaf in tree.items():
        here = f"{path}/{name}"
        if isinstance(leaf, dict):
            part = select(leaf, keep, here)
            if part:
                out[name] = part
        elif keep(here):
            out[name] = leaf
    return out


def trainable(params: dict, motion: bool) -> dict:
    """The motion modules' parameters, or all others but the autoencoder's."""
    rest = {part: params[part] for part in TRAINED if part in params}
    return select(rest, lambda path: ("motion_modules" in path) == motion)


def train(
    name: str,
    config: DiffusionConfig,
    params: dict,
    cache: Cache,
    folder: pathlib.Path,
    *,
    steps: int,
    seed: int,
    identities: int,
    motion: bool,
    portraits: int = 4,
    peak: float = 1e-3,
    minutes: float | None = None,
    on_save: Callable[[dict], None] | None = None,
) -> dict:
    """Trains the spatial parameters, or with `motion` the motion modules alone on the frozen rest."""
    rest = {part: params[part] for part in TRAINED if part in params}
    trained = trainable(params, motion)
    frozen = select(rest, lambda path: motion and "motion_modules" not in path)
    fixed = {"frozen": jax.device_put(frozen | {"vae": params["vae"]})}

    def batch(step: int) -> dict:
        rows = np.sort(np.random.default_rng([seed, 2, step]).integers(0, identities, portraits))
        return fixed | {
            "rgb": cache.rgb[rows],
            "alpha": cache.alpha[rows],
            "condition": cache.condition[rows],
            "draft": cache.draft[rows],
        }

    state = loop.run(
        name,
        folder,
        trained,
        loss(config, motion),
        batch,
        steps=steps,
        peak=peak,
        seed=seed,
        minutes=minutes,
        on_save=None if on_save is None else lambda s: on_save(merge(params, s.average)),
    )
    return merge(params, state.average)
