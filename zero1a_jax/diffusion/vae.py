"""The autoencoder: diffusers' FlaxAutoencoderKL behind pure functions. The only file that knows diffusers.

diffusers is imported when the first function is called, since the import takes seconds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.diffusion import blocks
from zero1a_jax.diffusion.checks import expect, expect_images
from zero1a_jax.diffusion.config import DiffusionConfig

Array = jax.Array
PIXELS = 2**18  # that the networks see at once, as many frames as that is, at least one: 512 x 512


@functools.cache
def _network(config: DiffusionConfig):
    from diffusers.models.vae_flax import FlaxAutoencoderKL
    from diffusers.utils import logging

    logging.set_verbosity_error()  # it announces at every use that its Flax classes end
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
    """Random parameters: {"network", "mean" [C], "std" [C]}; the last two normalise the latents.

    With config.precondition, "power" [C] is the variance of the normalised latents.
    With config.vae_linear, "network" is the decoder alone and starts at 0, and there are "analysis" [P, C],
    "synthesis" [C, P] and "center" [P] for patches of P numbers.
    """
    side = config.frame_size // config.vae_patch
    sample = jnp.zeros((1, 3 * config.vae_patch**2, side, side))
    network = jax.jit(_network(config).init)(key, sample)["params"]
    params = {
        "network": network,
        "mean": jnp.zeros(config.latent_channels),
        "std": jnp.full(config.latent_channels, 1.0 / config.latent_scale),
    }
    if config.precondition:
        params["power"] = jnp.ones(config.latent_channels)
    if config.vae_linear:
        size = 3 * config.reduction**2
        decoder = dict(network["decoder"])
        decoder["conv_out"] = jax.tree.map(jnp.zeros_like, decoder["conv_out"])
        params["network"] = {"decoder": decoder, "post_quant_conv": network["post_quant_conv"]}
        basis = jnp.eye(size, config.latent_channels)
        params |= {"analysis": basis, "synthesis": basis.T, "center": jnp.zeros(size)}
    return params


def fit_linear(frames: np.ndarray, config: DiffusionConfig) -> dict:
    """The linear maps in closed form: the leading principal components of the patches of frames [T, H, W, 3].

    Latents are scaled by the fourth root of a component's variance: coarse ones stay larger than fine ones,
    so that noise covers fine detail first, and all stay near unit scale.
    """
    expect_images("frames", frames, config.reduction, "T")
    patches = np.asarray(blocks.fold(jnp.asarray(frames), config.reduction))
    patches = patches.reshape(-1, patches.shape[-1]).astype(np.float64)
    center = patches.mean(0)
    power, basis = np.linalg.eigh(np.cov((patches - center).T))
    power, basis = power[::-1][: config.latent_channels], basis[:, ::-1][:, : config.latent_channels]
    scale = power**0.25 * np.sqrt(np.sqrt(power).mean())
    maps = {"analysis": basis / scale, "synthesis": basis.T * scale[:, None], "center": center}
    maps |= {"mean": np.zeros(len(power)), "std": np.ones(len(power)), "power": power / scale**2}
    return {name: jnp.asarray(value, jnp.float32) for name, value in maps.items()}


def moments(params: dict, frames: Array, config: DiffusionConfig) -> tuple[Array, Array]:
    """Frames [T, H, W, 3] in 0..1 -> mean and log variance of the posterior [T, h, w, C], not normalised.

    h = H / config.reduction, w = W / config.reduction. Raises ValueError where that leaves a rest.
    """
    expect_images("frames", frames, config.reduction, "T")
    if config.vae_linear:
        patches = blocks.fold(frames, config.reduction)
        mean = (patches - params["center"]) @ params["analysis"]
        return mean, jnp.full_like(mean, -jnp.inf)
    x = blocks.fold(2.0 * frames - 1.0, config.vae_patch)
    network = _network(config)

    def run(x: Array) -> tuple[Array, Array]:
        posterior = network.apply(
            {"params": params["network"]}, jnp.moveaxis(x, -1, 1), method=network.encode, return_dict=False
        )[0]
        return posterior.mean, posterior.logvar

    return _by_chunks(run, x, x.shape[1] * x.shape[2])


def reconstruct(params: dict, raw: Array, config: DiffusionConfig) -> Array:
    """Latents that are not normalised [T, h, w, C] -> frames [T, H, W, 3], not clipped to 0..1."""
    network = _network(config)
    pixels = raw.shape[1] * raw.shape[2] * (config.reduction // config.vae_patch) ** 2

    def run(raw: Array) -> Array:
        return network.apply({"params": params["network"]}, raw, method=network.decode, return_dict=False)[0]

    x = 0.5 * blocks.unfold(jnp.moveaxis(_by_chunks(run, raw, pixels), 1, -1), config.vae_patch)
    if config.vae_linear:
        patches = raw @ params["synthesis"] + params["center"]
        return x + blocks.unfold(patches, config.reduction)
    return x + 0.5


def _by_chunks(function: Callable, frames: Array, pixels: int) -> Any:
    """function(frames) of so many frames, of so many pixels each, that their activations stay small."""
    count = len(frames)
    size = max(n for n in range(1, count + 1) if count % n == 0 and (n == 1 or n * pixels <= PIXELS))
    if size == count:
        return function(frames)
    out = jax.lax.map(function, frames.reshape(-1, size, *frames.shape[1:]))
    return jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[2:]), out)


def encode(params: dict, frames: Array, config: DiffusionConfig) -> Array:
    """Frames [T, H, W, 3] in 0..1 -> normalised latents [T, h, w, C], the posterior's mean."""
    mean, _ = moments(params, frames, config)
    return (mean - params["mean"]) / params["std"]


def decode(params: dict, latents: Array, config: DiffusionConfig) -> Array:
    """Normalised latents [T, h, w, C] -> frames [T, H, W, 3] in 0..1."""
    expect("latents", latents, ("T", "h", "w", config.latent_channels))
    return jnp.clip(reconstruct(params, latents * params["std"] + params["mean"], config), 0.0, 1.0)
