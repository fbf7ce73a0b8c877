"""The autoencoder's stage.

With a linear encoder the latents are known in closed form, so that the denoiser can train before, after or
beside the decoder network. Otherwise both networks train together, and `statistics` normalises the latents.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.diffusion import DiffusionConfig, vae
from zero1a_jax.pretraining import loop
from zero1a_jax.pretraining.data import Cache

NOISE = (
    0.3  # at most, of the latents' deviation, added in training: the decoder must bear a denoiser's errors
)


def loss(config: DiffusionConfig) -> Callable:
    """L1, squared error and L1 of image gradients, heavier on the head."""

    def value(network: dict, data: dict, key: jax.Array):
        params = data["fixed"] | {"network": network}
        frames = data["rgb"].astype(jnp.float32) / 255
        weight = 0.4 + 0.9 * (data["alpha"].astype(jnp.float32) / 255)[..., None]
        raw, _ = vae.moments(params, frames, config)
        level, draw = jax.random.split(key)
        scale = NOISE * jax.random.uniform(level, (len(raw), 1, 1, 1)) * params["std"]
        if config.precondition:
            scale = scale * jnp.sqrt(params["power"])
        noisy = raw + scale * jax.random.normal(draw, raw.shape)
        error = 2 * (vae.reconstruct(params, noisy, config) - frames)
        across, down = jnp.diff(error, axis=2), jnp.diff(error, axis=1)
        sharp = jnp.mean(jnp.abs(across) * weight[:, :, 1:]) + jnp.mean(jnp.abs(down) * weight[:, 1:])
        square = jnp.mean(error**2 * weight)
        total = jnp.mean(jnp.abs(error) * weight) + 4 * square + 0.5 * sharp
        if not config.vae_linear:
            scale = jnp.mean(raw.mean((0, 1, 2)) ** 2 + (raw.std((0, 1, 2)) - 1) ** 2)
            rough = jnp.mean(jnp.diff(raw, axis=1) ** 2) + jnp.mean(jnp.diff(raw, axis=2) ** 2)
            far = jnp.mean(jnp.maximum(jnp.abs(raw) - 4, 0))
            total = total + 0.02 * scale + 0.002 * rough + 1e-3 * far
        head = jnp.mean(error**2 * data["alpha"][..., None] / 255.0) / jnp.mean(data["alpha"] / 255.0)
        return total, {"psnr": -10 * jnp.log10(head / 4)}

    return value


def train(
    config: DiffusionConfig,
    params: dict,
    cache: Cache,
    folder: pathlib.Path,
    *,
    steps: int,
    seed: int,
    identities: int,
    batch_size: int = 12,
    peak: float = 2e-3,
    minutes: float | None = None,
) -> dict:
    """Trains the network on the cache's first identities. Returns the parameters with the trained network."""
    fixed = {name: leaf for name, leaf in params.items() if name != "network"}

    def batch(step: int) -> dict:
        pick = np.random.default_rng([seed, 1, step])
        rows = np.sort(pick.integers(0, identities, batch_size))
        frames = pick.integers(0, cache.rgb.shape[1], batch_size)
        return {"fixed": fixed, "rgb": cache.rgb[rows, frames], "alpha": cache.alpha[rows, frames]}

    state = loop.run(
        "vae",
        folder,
        params["network"],
        loss(config),
        batch,
        steps=steps,
        peak=peak,
        seed=seed,
        decay=0.99,
        minutes=minutes,
    )
    return params | {"network": state.average}


def statistics(config: DiffusionConfig, params: dict, frames: np.ndarray) -> dict:
    """Params with the mean and standard deviation per latent channel of these uint8 frames [n, H, W, 3]."""
    encode = jax.jit(lambda x: vae.moments(params, x.astype(jnp.float32) / 255, config)[0])
    raw = np.concatenate([np.asarray(encode(frames[i : i + 64])) for i in range(0, len(frames), 64)])
    return params | {"mean": jnp.asarray(raw.mean((0, 1, 2))), "std": jnp.asarray(raw.std((0, 1, 2)))}
