"""Blocks that both UNets and the pose guider share, numerically as in PyTorch.

Images are [B, H, W, C], tokens [B, N, C] in row-major order. Flax's defaults differ from PyTorch's in
the epsilon of the norms, the GELU and the padding of strided convolutions, so all are spelled out.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array
ZEROS = nn.initializers.zeros_init()
NORMAL = nn.initializers.lecun_normal()


def conv(features: int, kernel: int = 3, stride: int = 1, *, name: str, zero: bool = False) -> nn.Conv:
    """A convolution with symmetric padding 1 (0 for a 1x1 kernel)."""
    pad = 0 if kernel == 1 else 1
    return nn.Conv(
        features,
        (kernel, kernel),
        (stride, stride),
        padding=((pad, pad), (pad, pad)),
        name=name,
        kernel_init=ZEROS if zero else NORMAL,
    )


def group_norm(groups: int, epsilon: float, name: str) -> nn.GroupNorm:
    """Group norm whose variance is computed as PyTorch does, in two passes."""
    return nn.GroupNorm(groups, epsilon=epsilon, use_fast_variance=False, name=name)


def layer_norm(name: str) -> nn.LayerNorm:
    """Layer norm with PyTorch's epsilon and two-pass variance."""
    return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)


def fold(images: Array, patch: int) -> Array:
    """Moves patch x patch pixels into channels: [..., H, W, C] -> [..., H/p, W/p, p*p*C]."""
    *lead, height, width, channels = images.shape
    folded = images.reshape(*lead, height // patch, patch, width // patch, patch, channels)
    folded = jnp.moveaxis(folded, -4, -3)
    return folded.reshape(*lead, height // patch, width // patch, patch * patch * channels)


def unfold(images: Array, patch: int) -> Array:
    """Inverse of fold."""
    *lead, height, width, channels = images.shape
    unfolded = images.reshape(*lead, height, width, patch, patch, channels // patch**2)
    unfolded = jnp.moveaxis(unfolded, -4, -3)
    return unfolded.reshape(*lead, height * patch, width * patch, channels // patch**2)


def sinusoid(timesteps: Array, channels: int) -> Array:
    """[..., channels], cosines then sines, frequencies 10000^(-i/half)."""
    half = channels // 2
    frequencies = jnp.exp(-jnp.log(10000.0) * jnp.arange(half, dtype=jnp.float32) / half)
    angles = timesteps.astype(jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class TimeEmbedding(nn.Module):
    """Timesteps [B] to [B, 4 * channels]."""

    channels: int

    @nn.compact
    def __call__(self, timesteps: Array) -> Array:
        x = nn.Dense(4 * self.channels, name="linear_1")(sinusoid(timesteps, self.channels))
        return nn.Dense(4 * self.channels, name="linear_2")(nn.silu(x))


class Resnet(nn.Module):
    """Two convolutions with the time embedding added in between; a 1x1 shortcut where widths differ."""

    channels: int
    groups: int

    @nn.compact
    def __call__(self, x: Array, time: Array) -> Array:
        h = nn.silu(group_norm(self.groups, 1e-5, "norm1")(x))
        h = conv(self.channels, name="conv1")(h)
        h = h + nn.Dense(self.channels, name="time_emb_proj")(nn.silu(time))[:, None, None]
        h = nn.silu(group_norm(self.groups, 1e-5, "norm2")(h))
        h = conv(self.channels, name="conv2", zero=True)(h)
        if x.shape[-1] != self.channels:
            x = conv(self.channels, 1, name="conv_shortcut")(x)
        return x + h


class Downsample(nn.Module):
    """Halves the sides of [B, H, W, C] with a strided 3x3 convolution."""

    channels: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return conv(self.channels, stride=2, name="conv")(x)


class Upsample(nn.Module):
    """Nearest-neighbour to the given sides, then a 3x3 convolution."""

    channels: int

    @nn.compact
    def __call__(self, x: Array, height: int, width: int) -> Array:
        batch, h, w, channels = x.shape
        if (height, width) == (2 * h, 2 * w):
            x = jnp.broadcast_to(x[:, :, None, :, None], (batch, h, 2, w, 2, channels))
            x = x.reshape(batch, height, width, channels)
        else:
            x = jax.image.resize(x, (batch, height, width, channels), "nearest")
        return conv(self.channels, name="conv")(x)


def attend(q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    """Unnormalised: (weighted values [B, Q, h, d], sum of weights [B, Q, h], largest logit [B, Q, h])."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", q * q.shape[-1] ** -0.5, k)
    top = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    weights = jnp.exp(logits - top)
    values = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
    return values, jnp.swapaxes(weights.sum(-1), 1, 2), jnp.swapaxes(top[..., 0], 1, 2)


class Attention(nn.Module):
    """Multi-head attention. With a bank, keys and values are the own tokens and the bank's together.

    x [B*F, N, C]; bank [B, M, C] is shared by the F frames of a batch element; read [B] in {0, 1} says
    which elements see it. source: tokens of keys and values instead of x (cross-attention).
    """

    heads: int
    out: int

    @nn.compact
    def __call__(self, x: Array, source: Array | None = None, bank: Array | None = None, read=None) -> Array:
        inner = self.out
        to_q = nn.Dense(inner, use_bias=False, name="to_q")
        to_k = nn.Dense(inner, use_bias=False, name="to_k")
        to_v = nn.Dense(inner, use_bias=False, name="to_v")
        source = x if source is None else source

        def split(tokens: Array) -> Array:
            return tokens.reshape(*tokens.shape[:-1], self.heads, inner // self.heads)

        q = split(to_q(x))
        values, total, top = attend(q, split(to_k(source)), split(to_v(source)))
        if bank is not None and read is not None:
            # The bank's keys do not depend on the frame, so all frames' queries meet them in one product.
            batch = bank.shape[0]
            queries = q.reshape(batch, -1, *q.shape[-2:])
            more = attend(queries, split(to_k(bank)), split(to_v(bank)))
            bank_values, bank_total, bank_top = (a.reshape(q.shape[:2] + a.shape[2:]) for a in more)
            seen = jnp.repeat(read, q.shape[0] // batch)[:, None, None]
            bank_top = jnp.where(seen > 0, bank_top, -jnp.inf)
            joint = jnp.maximum(top, bank_top)
            own, other = jnp.exp(top - joint), jnp.exp(bank_top - joint)
            values = values * own[..., None] + bank_values * other[..., None]
            total = total * own + bank_total * other
        mixed = values / total[..., None]
        return nn.Dense(self.out, name="to_out")(mixed.reshape(*x.shape[:-1], inner))


class FeedForward(nn.Module):
    """GEGLU: value * gelu(gate), exact GELU."""

    factor: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        value, gate = jnp.split(nn.Dense(2 * self.factor * channels, name="proj")(x), 2, axis=-1)
        return nn.Dense(channels, name="out")(value * nn.gelu(gate, approximate=False))


class TransformerBlock(nn.Module):
    """Self-attention (with a bank to read), attention to the context, feed-forward.

    Returns the result and the normalised tokens that entered self-attention: what a reference UNet
    stores in the bank. context [B*F, K, D], or None for a block without that attention.
    """

    heads: int
    factor: int

    @nn.compact
    def __call__(self, x: Array, context: Array | None, bank: Array | None, read) -> tuple[Array, Array]:
        channels = x.shape[-1]
        tokens = layer_norm("norm1")(x)
        x = x + Attention(self.heads, channels, name="attn1")(tokens, bank=bank, read=read)
        if context is not None:
            x = x + CrossAttention(self.heads, channels, name="attn2")(x, context)
        x = x + FeedForward(self.factor, name="ff")(layer_norm("norm3")(x))
        return x, tokens


class CrossAttention(nn.Module):
    """Attention to the context. Over a single token the softmax is 1, so queries and keys drop out."""

    heads: int
    out: int

    @nn.compact
    def __call__(self, x: Array, context: Array) -> Array:
        norm = layer_norm("norm")
        to_q = nn.Dense(self.out, use_bias=False, name="to_q")
        to_k = nn.Dense(self.out, use_bias=False, name="to_k")
        v = nn.Dense(self.out, use_bias=False, name="to_v")(context)
        if self.is_initializing() or context.shape[1] > 1:

            def split(tokens: Array) -> Array:
                return tokens.reshape(*tokens.shape[:-1], self.heads, self.out // self.heads)

            values, total, _ = attend(split(to_q(norm(x))), split(to_k(context)), split(v))
            v = (values / total[..., None]).reshape(*x.shape[:-1], self.out)
        return nn.Dense(self.out, name="to_out")(v)


class SpatialTransformer(nn.Module):
    """Group norm, projection, one transformer block over all positions, projection, residual."""

    heads: int
    factor: int
    groups: int
    inner: int | None = None  # width of the block, the input's if None

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, bank: Array | None = None, read=None):
        batch, height, width, channels = x.shape
        inner = self.inner or channels
        h = group_norm(self.groups, 1e-6, "norm")(x).reshape(batch, height * width, channels)
        h = nn.Dense(inner, name="proj_in")(h)
        h, tokens = TransformerBlock(self.heads, self.factor, name="block")(h, context, bank, read)
        h = nn.Dense(channels, name="proj_out", kernel_init=ZEROS)(h)
        return x + h.reshape(x.shape), tokens
