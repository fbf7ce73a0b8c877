"""The pose guider: a condition image to features that are added inside the UNet."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from zero1a_jax.diffusion import blocks
from zero1a_jax.diffusion.checks import expect_images
from zero1a_jax.diffusion.config import POSE_REDUCTION, DiffusionConfig

Array = jax.Array


class BatchNorm(nn.Module):
    """Batch norm whose running statistics are ordinary parameters; `batch` uses the input's own instead."""

    batch: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones_init(), (channels,))
        bias = self.param("bias", blocks.ZEROS, (channels,))
        mean = self.param("mean", blocks.ZEROS, (channels,))
        var = self.param("var", nn.initializers.ones_init(), (channels,))
        if self.batch:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) * (scale * jax.lax.rsqrt(var + 1e-5)) + bias


class ConvStack(nn.Module):
    """Convolutions, each followed by batch norm (unless norm is "none") and ReLU."""

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    norm: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for i, (channels, kernel, stride) in enumerate(
            zip(self.channels, self.kernels, self.strides, strict=True)
        ):
            x = blocks.conv(channels, kernel, stride, name=f"conv_{i}")(x)
            if self.norm != "none":
                x = BatchNorm(self.norm == "batch", name=f"norm_{i}")(x)
            x = nn.relu(x)
        return x


class PoseGuider(nn.Module):
    """Condition images [B, 8h, 8w, 3] in 0..1 to one feature map for the first convolution and one a level.

    Feature 0 is [B, h, w, C_0]; feature i+1 fits the output of down block i, so all but the last halve the
    sides again, odd ones rounded up. Raises ValueError where 8 does not divide the images' sides. The
    published network also computes a branch for the reference pose, whose result it never uses; it is left
    out.
    """

    config: DiffusionConfig

    @nn.compact
    def __call__(self, images: Array) -> list[Array]:
        c = self.config
        expect_images("conditions", images, POSE_REDUCTION, "B")
        low, high = c.pose_range
        x = blocks.fold(images * (high - low) + low, c.pose_patch)
        if c.pose_frequencies:
            x = jnp.concatenate([x, waves(images, c.pose_patch, c.pose_frequencies)], axis=-1)
        x = ConvStack(c.pose_channels, c.pose_kernels, c.pose_strides, c.pose_norm, name="conv_layers")(x)
        widths = c.unet_channels
        x = nn.Dense(widths[0], name="final_proj")(x)
        x = x * self.param("scale", nn.initializers.constant(2.0), (1,))
        features = [x]
        for i, width in enumerate(widths):
            if i + 1 < len(widths):
                shape = ((x.shape[-1], width), (3, 3), (1, 2))
            else:
                shape = ((width,), (3,), (1,))
            x = ConvStack(*shape, c.pose_norm, name=f"conv_layers_{i + 1}")(x)
            if c.pose_attention:
                inner = c.pose_heads * c.pose_head_channels
                layer = blocks.SpatialTransformer(c.pose_heads, 4, c.groups, inner, name=f"cross_attn{i + 1}")
                x, _ = layer(x)
            features.append(x)
        return features


def waves(images: Array, patch: int, octaves: int) -> Array:
    """Sines and cosines of the patch-averaged image by octaves: sharp addresses from smooth coordinates."""
    *lead, height, width, channels = images.shape
    mean = images.reshape(*lead, height // patch, patch, width // patch, patch, channels).mean((-4, -2))
    angles = mean[..., None] * (jnp.pi * 2.0 ** jnp.arange(octaves))
    angles = angles.reshape(*mean.shape[:-1], channels * octaves)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
