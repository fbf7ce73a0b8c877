"""The denoising UNet: frames of noisy latents to their velocity."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from zero1a_jax.diffusion import blocks, unet
from zero1a_jax.diffusion.config import DiffusionConfig

Array = jax.Array


class DenoisingUNet(nn.Module):
    """Latents [B, F, H, W, C] -> velocity, same shape, float32.

    timesteps [B] or [B, F]; context [B, K, D]; bank: a list of [B, N, C], read where `read` [B] is 1;
    pose: features [B, F, ...] of the condition images. motion=False leaves the motion modules out.
    """

    config: DiffusionConfig

    @nn.compact
    def __call__(self, latents, timesteps, context, bank, read, pose, motion: bool = True) -> Array:
        c = self.config
        latents, context, bank, pose = blocks.cast((latents, context, bank, pose), c.dtype)
        (batch, frames), shape = latents.shape[:2], latents.shape[2:]
        if timesteps.ndim == 1:
            timesteps = jnp.broadcast_to(timesteps[:, None], (batch, frames))
        # Frames are folded into the batch and come first, so that devices can split them.
        time = blocks.TimeEmbedding(c.unet_channels[0], name="time_embedding")(timesteps.T.reshape(-1))
        x, *pose = (jnp.swapaxes(a, 0, 1).reshape(-1, *a.shape[2:]) for a in (latents, *pose))
        layers = unet.Layers(c, time, jnp.tile(context, (frames, 1, 1)), frames, motion, bank, read)
        x = unet.Body(c, name="body")(x, pose, layers)
        x = x.astype(jnp.float32)
        x = nn.silu(blocks.group_norm(c.groups, 1e-5, "conv_norm_out")(x))
        x = blocks.conv(c.latent_channels, name="conv_out", zero=True)(x)
        return jnp.swapaxes(x.reshape(frames, batch, *shape), 0, 1)
