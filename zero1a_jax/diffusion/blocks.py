"""Blocks that both UNets and the pose guider share, numerically as in PyTorch.

Images are [B, H, W, C], tokens [B, N, C] in row-major order. Flax's defaults differ from PyTorch's in
the epsilon of the norms, the GELU and the padding of strided convolutions, so all are spelled out.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.diffusion.attention import attend

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


def cast(tree: Any, dtype: str) -> Any:
    """Every leaf of a pytree in another type."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


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
    """Timesteps [B] to [B, 4 * channels], in float32 whatever the weights are in."""

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
        h = h + nn.Dense(self.channels, name="time_emb_proj")(nn.silu(time).astype(x.dtype))[:, None, None]
        h = nn.silu(group_norm(self.groups, 1e-5, "norm2")(h))
        h = conv(self.channels, name="conv2", zero=True)(h)
        if x.shape[-1] != self.channels:
            x = conv(self.channels, 1, name="conv_shortcut")(x)
        return x + h


class Downsample(nn.Module):
    """Halves the sides of [B, H, W, C], odd ones rounded up, with a strided 3x3 convolution."""

    channels: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return conv(self.channels, stride=2, name="conv")(x)


class Upsample(nn.Module):
    """Nearest-neighbour to the given sides, then a 3x3 convolution.

    Pixel i of n comes from pixel floor(i h / n) of h, as PyTorch's "nearest" has it, where jax.image.resize
    takes floor((i + 1/2) h / n). To twice the side they are one.
    """

    channels: int

    @nn.compact
    def __call__(self, x: Array, height: int, width: int) -> Array:
        batch, h, w, channels = x.shape
        if (height, width) == (2 * h, 2 * w):
            x = jnp.broadcast_to(x[:, :, None, :, None], (batch, h, 2, w, 2, channels))
            x = x.reshape(batch, height, width, channels)
        else:
            x = x[:, np.arange(height) * h // height][:, :, np.arange(width) * w // width]
        return conv(self.channels, name="conv")(x)


class Attention(nn.Module):
    """Multi-head attention. With a bank, keys and values are the own tokens and the bank's together.

    x [F*B, N, C]; bank [B, M, C] is shared by the F frames of a batch element; read [B] in {0, 1} says
    which elements see it. A numpy `read` is known as the program is built, so that elements that do not see
    the bank cost nothing; those must come first.
    """

    heads: int
    out: int

    @nn.compact
    def __call__(self, x: Array, bank: Array | None = None, read=None) -> Array:
        to_q, to_k, to_v = (nn.Dense(self.out, use_bias=False, name=f"to_{name}") for name in "qkv")
        q, k, v = (_split(project(x), self.heads) for project in (to_q, to_k, to_v))
        if bank is None or read is None:
            mixed = attend(q, k, v)
        else:
            blind, batch = _blind(read), len(bank)
            frames = len(x) // batch
            q, k, v = (a.reshape(frames, batch, *a.shape[1:]) for a in (q, k, v))
            parts = [_each(q[:, :blind], k[:, :blind], v[:, :blind])] if blind else []
            if blind < batch:
                more = [_split(project(bank[blind:]), self.heads) for project in (to_k, to_v)]
                more = [jnp.broadcast_to(a, (frames, *a.shape)) for a in more]
                k, v = (jnp.concatenate([a[:, blind:], b], 2) for a, b in zip((k, v), more, strict=True))
                seen = None
                if not isinstance(read, np.ndarray):
                    seen = (read > 0)[:, None] | (jnp.arange(k.shape[2]) < x.shape[1])
                    seen = jnp.tile(seen, (frames, 1))
                parts.append(_each(q[:, blind:], k, v, seen))
            mixed = jnp.concatenate(parts, 1) if len(parts) > 1 else parts[0]
        return nn.Dense(self.out, name="to_out")(mixed.reshape(*x.shape[:-1], self.out))


def _each(q: Array, k: Array, v: Array, seen: Array | None = None) -> Array:
    """Attention within frames and elements: [F, B, ...] each; seen [F*B, keys]."""
    queries, keys, values = (a.reshape(-1, *a.shape[2:]) for a in (q, k, v))
    return attend(queries, keys, values, seen).reshape(q.shape)


def _blind(read: Any) -> int:
    """How many elements are known not to read the bank; they come first."""
    if not isinstance(read, np.ndarray):
        return 0
    count = int((read == 0).sum())
    if read[:count].any():
        raise ValueError(f"elements that do not read the bank must come first, but read is {read}.")
    return count


def _split(tokens: Array, heads: int) -> Array:
    return tokens.reshape(*tokens.shape[:-1], heads, -1)


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
    stores in the bank. context [F*B, K, D], or None for a block without that attention.
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
            q, k, values = (_split(tokens, self.heads) for tokens in (to_q(norm(x)), to_k(context), v))
            v = attend(q, k, values).reshape(*x.shape[:-1], self.out)
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
