"""The reference UNet: runs once on the portrait and hands its attention tokens to the denoiser."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from zero1a_jax.diffusion import blocks, unet
from zero1a_jax.diffusion.config import DiffusionConfig

Array = jax.Array


class ReferenceUNet(nn.Module):
    """Latents [B, H, W, C], context [B, K, D] -> bank, a list of [B, N, C] in the order of execution.

    Runs at timestep 0. pose: features of the portrait's own condition image, or None.
    """

    config: DiffusionConfig

    @nn.compact
    def __call__(self, latents: Array, context: Array, pose: list[Array] | None = None) -> list[Array]:
        c = self.config
        latents, context, pose = blocks.cast((latents, context, pose), c.dtype)
        time = blocks.TimeEmbedding(c.unet_channels[0], name="time_embedding")(jnp.zeros(latents.shape[0]))
        layers = unet.Layers(c, time, context, frames=1, motion=False)
        unet.Body(c, name="body")(latents, pose, layers)
        bank = layers.written
        if c.bank_float16:
            bank = [tokens.astype(jnp.float16).astype(tokens.dtype) for tokens in bank]
        return bank
