"""Motion modules: temporal self-attention at every latent position, after AnimateDiff."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.diffusion import blocks

Array = jax.Array


def position_table(frames: int, channels: int) -> np.ndarray:
    """Sinusoidal positions [frames, channels]: sine on even channels, cosine on odd ones, base 10000."""
    angles = np.arange(frames)[:, None] * 10000.0 ** (-np.arange(0, channels, 2) / channels)
    table = np.zeros((frames, channels))
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)
    return table.astype(np.float32)


class TemporalBlock(nn.Module):
    """Temporal self-attentions, then feed-forward, on tokens [B*H*W, F, C], in any order of places.

    The position table enters queries, keys and values, but not the residual.
    """

    heads: int
    attentions: int
    factor: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        _, frames, channels = x.shape
        table = jnp.asarray(position_table(frames, channels))
        for i in range(self.attentions):
            tokens = blocks.layer_norm(f"norms_{i}")(x) + table.astype(x.dtype)
            x = x + blocks.Attention(self.heads, channels, name=f"attention_blocks_{i}")(tokens)
        return x + blocks.FeedForward(self.factor, name="ff")(blocks.layer_norm("ff_norm")(x))


class MotionModule(nn.Module):
    """x [F*B, H, W, C] plus a temporal transformer over its F frames; starts as the identity."""

    heads: int
    attentions: int
    factor: int
    groups: int

    @nn.compact
    def __call__(self, x: Array, frames: int) -> Array:
        channels = x.shape[-1]
        h = blocks.group_norm(self.groups, 1e-6, "norm")(x)
        h = jnp.moveaxis(h.reshape(frames, -1, channels), 0, 1)
        h = nn.Dense(channels, name="proj_in")(h)
        h = TemporalBlock(self.heads, self.attentions, self.factor, name="block")(h)
        h = nn.Dense(channels, name="proj_out", kernel_init=blocks.ZEROS)(h)
        return x + jnp.moveaxis(h, 1, 0).reshape(x.shape)
