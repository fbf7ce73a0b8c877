"""Attention of many heads that never holds all its logits at once.

On an NVIDIA GPU in bfloat16 or float16 cuDNN's fused kernel computes it, which keeps no logits at all;
elsewhere plain products do, in chunks where the logits would be large. Softmax is in float32 either way.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

Array = jax.Array
LOGITS = 2**26  # logits held at once without the fused kernel: 256 MiB
# What the fused kernel takes on every GPU that has it. Below so many keys most of its tile would be empty.
FUSED_HEAD, FUSED_KEYS = 128, 128


def attend(q: Array, k: Array, v: Array, seen: Array | None = None) -> Array:
    """softmax(q k / sqrt(d)) v.

    Args:
      q: queries [B, Q, h, d].
      k, v: keys and values [B, K, h, d].
      seen: [B, K] bool, which keys count; all where None.

    Returns:
      [B, Q, h, d] of q's type.
    """
    if seen is None and is_fused(q, k):
        return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
    batch, queries, heads, _ = q.shape
    element = queries * heads * k.shape[1]
    if batch > 1 and batch * element > LOGITS:
        return jax.lax.map(_one, (q, k, v, seen), batch_size=max(1, LOGITS // element))
    if element > LOGITS:
        parts = next(n for n in range(-(-element // LOGITS), queries + 1) if queries % n == 0)
        chunks = jnp.moveaxis(q.reshape(batch, parts, queries // parts, *q.shape[2:]), 1, 0)
        out = jax.lax.map(functools.partial(attend, k=k, v=v, seen=seen), chunks)
        return jnp.moveaxis(out, 0, 1).reshape(q.shape)
    # Queries last: on a CPU the softmax is then fastest.
    logits = jnp.einsum("bqhd,bkhd->bhkq", q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32)
    if seen is not None:
        logits = jnp.where(seen[:, None, :, None], logits, -jnp.inf)
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-2, keepdims=True)))
    mixed = jnp.einsum("bhkq,bkhd->bqhd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    return (mixed / jnp.swapaxes(weights.sum(-2), 1, 2)[..., None]).astype(q.dtype)


def _one(element: tuple) -> Array:
    q, k, v, seen = element
    return attend(q[None], k[None], v[None], None if seen is None else seen[None])[0]


def is_fused(q: Array, k: Array) -> bool:
    """Whether cuDNN's kernel computes attention of these queries and keys on the default device."""
    half = q.dtype in (jnp.bfloat16, jnp.float16)
    fits = q.shape[-1] <= FUSED_HEAD and q.shape[-1] % 8 == 0 and k.shape[1] >= FUSED_KEYS
    return half and fits and on_cuda()


def on_cuda() -> bool:
    """Whether programs run on an NVIDIA GPU by default."""
    return jax.default_backend() == "gpu" and "cuda" in jax.local_devices()[0].client.platform_version
