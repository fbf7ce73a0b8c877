"""The autoencoder: diffusers' FlaxAutoencoderKL behind pure functions. The only file that knows diffusers.

diffusers is imported when the first function is called, since the import takes seconds.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from zero1a_jax.diffusion import blocks
from zero1a_jax.diffusion.config import DiffusionConfig

Array = jax.Array


@functools.cache
def _network(config: DiffusionConfig):
    from diffusers.models.vae_flax import FlaxAutoencoderKL
    from diffusers.utils import logging

    logging.set_verbosity_error()  # each construction announces that the Flax classes end with this release line
    levels = len(config.vae_channels)
    return FlaxAutoencoderKL(
        in_channels=3 * config.vae_patch**2,
        out_channels=3 * config.vae_patch**2,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.vae_channels,
        layers_per_block=config.vae_layers,
        latent_channels=config.latent_channels,
        norm_num_groups=config.vae_groups,
        sample_size=config.frame_size // config.vae_patch,
    )


def init(key: Array, config: DiffusionConfig) -> dict:
    """Random parameters: {"network", "mean" [C], "std" [C]}; the last two normalise the latents."""
    side = config.frame_size // config.vae_patch
    sample = jnp.zeros((1, 3 * config.vae_patch**2, side, side))
    network = _network(config)
    return {
        "network": jax.jit(network.init)(key, sample)["params"],
        "mean": jnp.zeros(config.latent_channels),
        "std": jnp.full(config.latent_channels, 1.0 / config.latent_scale),
    }


def moments(params: dict, frames: Array, config: DiffusionConfig) -> tuple[Array, Array]:
    """Frames [T, H, W, 3] in 0..1 -> mean and log variance of the posterior [T, h, w, C], not normalised."""
    x = blocks.fold(2.0 * frames - 1.0, config.vae_patch)
    network = _network(config)
    posterior = network.apply(
        {"params": params["network"]}, jnp.moveaxis(x, -1, 1), method=network.encode, return_dict=False
    )[0]
    return posterior.mean, posterior.logvar


def reconstruct(params: dict, raw: Array, config: DiffusionConfig) -> Array:
    """Latents that are not normalised [T, h, w, C] -> frames [T, H, W, 3], not clipped to 0..1."""
    network = _network(config)
    x = network.apply({"params": params["network"]}, raw, method=network.decode, return_dict=False)[0]
    return 0.5 * blocks.unfold(jnp.moveaxis(x, 1, -1), config.vae_patch) + 0.5


def encode(params: dict, frames: Array, config: DiffusionConfig) -> Array:
    """Frames [T, H, W, 3] in 0..1 -> normalised latents [T, h, w, C], the posterior's mean."""
    mean, _ = moments(params, frames, config)
    return (mean - params["mean"]) / params["std"]


def decode(params: dict, latents: Array, config: DiffusionConfig) -> Array:
    """Normalised latents [T, h, w, C] -> frames [T, H, W, 3] in 0..1."""
    return jnp.clip(reconstruct(params, latents * params["std"] + params["mean"], config), 0.0, 1.0)
