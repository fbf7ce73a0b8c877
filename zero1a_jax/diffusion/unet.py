"""The body that both UNets share: SD 1.5's, with a bank to write or read and motion modules."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from zero1a_jax.diffusion import blocks
from zero1a_jax.diffusion.config import DiffusionConfig
from zero1a_jax.diffusion.motion import MotionModule

Array = jax.Array


class Layers:
    """What every layer of one evaluation shares: settings, time, context and the bank.

    Banks are lists in the order of execution. Without a bank to read, the tokens that pass are written.
    """

    def __init__(
        self, config: DiffusionConfig, time, context, frames: int, motion: bool, bank=None, read=None
    ):
        self.config, self.time, self.context = config, time, context
        self.frames, self.motion, self.read = frames, motion, read
        self.bank = None if bank is None else list(bank)
        self.written: list[Array] = []

    def resnet(self, x: Array, channels: int, name: str) -> Array:
        """A resnet block [B, H, W, C] -> [B, H, W, channels]."""
        return blocks.Resnet(channels, self.config.groups, name=name)(x, self.time)

    def attention(self, x: Array, name: str) -> Array:
        """A spatial transformer [B, H, W, C] that reads the next bank, or writes one."""
        c = self.config
        layer = blocks.SpatialTransformer(c.unet_heads, c.unet_feedforward, c.groups, name=name)
        x, tokens = layer(x, self.context, None if self.bank is None else self.bank.pop(0), self.read)
        self.written.append(tokens)
        return x

    def move(self, x: Array, name: str) -> Array:
        """A motion module over the frames, folded into B ahead of it; nothing where motion is off."""
        c = self.config
        if not self.motion:
            return x
        module = MotionModule(c.motion_heads, c.motion_attentions, c.motion_feedforward, c.groups, name=name)
        return module(x, self.frames)


class DownBlock(nn.Module):
    """One level on the way down: features and the skips they leave."""

    config: DiffusionConfig
    level: int

    @nn.compact
    def __call__(self, x: Array, layers: Layers) -> tuple[Array, list[Array]]:
        c, skips = self.config, []
        for i in range(c.unet_layers):
            x = layers.resnet(x, c.unet_channels[self.level], f"resnets_{i}")
            if c.down_attention[self.level]:
                x = layers.attention(x, f"attentions_{i}")
            if c.motion_levels[self.level]:
                x = layers.move(x, f"motion_modules_{i}")
            skips.append(x)
        if self.level + 1 < len(c.unet_channels):
            x = blocks.Downsample(c.unet_channels[self.level], name="downsamplers_0")(x)
            skips.append(x)
        return x, skips


class MidBlock(nn.Module):
    """Resnet, transformer, motion module, resnet at the coarsest level."""

    config: DiffusionConfig

    @nn.compact
    def __call__(self, x: Array, layers: Layers) -> Array:
        channels = self.config.unet_channels[-1]
        x = layers.resnet(x, channels, "resnets_0")
        x = layers.attention(x, "attentions_0")
        x = layers.move(x, "motion_modules_0")
        return layers.resnet(x, channels, "resnets_1")


class UpBlock(nn.Module):
    """One level on the way up: takes its skips from the end of the list."""

    config: DiffusionConfig
    level: int  # counted from the fine end, like the down blocks

    @nn.compact
    def __call__(self, x: Array, skips: list[Array], layers: Layers) -> Array:
        c = self.config
        for i in range(c.unet_layers + 1):
            x = jnp.concatenate([x, skips.pop()], axis=-1)
            x = layers.resnet(x, c.unet_channels[self.level], f"resnets_{i}")
            if c.up_attention[self.level]:
                x = layers.attention(x, f"attentions_{i}")
            if c.motion_levels[self.level]:
                x = layers.move(x, f"motion_modules_{i}")
        if self.level > 0:
            x = blocks.Upsample(c.unet_channels[self.level], name="upsamplers_0")(x, *skips[-1].shape[1:3])
        return x


def stretched(table: Array, height: int, width: int) -> Array:
    """A table over places [S, S, C] drawn out over a picture of other sides, [height, width, C]."""
    shape = (height, width, table.shape[-1])
    return table if table.shape == shape else jax.image.resize(table, shape, "linear")


class Body(nn.Module):
    """Latents [B, H, W, C] to features [B, H, W, C_0]; see Layers for the rest.

    H and W are any: a side that does not halve is rounded up on the way down, and the way up goes to the
    sides of the next skip.
    """

    config: DiffusionConfig

    @nn.compact
    def __call__(self, x: Array, pose: list[Array] | None, layers: Layers) -> Array:
        c = self.config
        height, width = x.shape[1:3]
        x = blocks.conv(c.unet_channels[0], name="conv_in")(x)
        if c.position_table:
            shape = (c.latent_size, c.latent_size, c.unet_channels[0])
            x = x + stretched(self.param("position", nn.initializers.normal(0.3), shape), height, width)
        if pose is not None:
            x = x + pose[0]
        skips = [x]
        for i in range(len(c.unet_channels)):
            x, more = DownBlock(c, i, name=f"down_blocks_{i}")(x, layers)
            skips += more
            if pose is not None:
                x = x + pose[i + 1]
        x = MidBlock(c, name="mid_block")(x, layers)
        for i in reversed(range(len(c.unet_channels))):
            x = UpBlock(c, i, name=f"up_blocks_{len(c.unet_channels) - 1 - i}")(x, skips, layers)
        return x
