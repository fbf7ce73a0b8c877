"""What SymGEN hands to the diffusion: renders that are blurred, off in colour, or mirrored on a side."""

from __future__ import annotations

import jax
import jax.numpy as jnp

KINDS = ("blur", "colour", "mirror")
RADIUS = 8  # pixels of the blur kernel


def blur(frame: jax.Array, sigma: jax.Array | float) -> jax.Array:
    """Gaussian blur of [H, W, 3], sigma in pixels (traced), edges replicated."""
    offsets = jnp.arange(-RADIUS, RADIUS + 1)
    kernel = jnp.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for axis in (0, 1):
        pad = [(RADIUS, RADIUS) if a == axis else (0, 0) for a in range(3)]
        padded = jnp.pad(frame, pad, mode="edge")
        size = frame.shape[axis]
        taps = [jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(2 * RADIUS + 1)]
        frame = jnp.tensordot(kernel, jnp.stack(taps), 1)
    return frame


def shift_colour(frame: jax.Array, alpha: jax.Array, gain: jax.Array, offset: jax.Array) -> jax.Array:
    """Gain and offset [3] on the head, over white."""
    changed = jnp.clip(frame * gain + offset, 0, 1)
    return frame + alpha[..., None] * (changed - frame)


def mirror(frame: jax.Array, left: jax.Array) -> jax.Array:
    """Replaces the left half (or the right) by the other half mirrored, over a soft seam."""
    width = frame.shape[1]
    ramp = jax.nn.sigmoid((jnp.arange(width) - 0.5 * (width - 1)) / 2.0)
    keep = jnp.where(left, ramp, 1 - ramp)[:, None]
    return keep * frame + (1 - keep) * frame[:, ::-1]


def degrade(key: jax.Array, frame: jax.Array, alpha: jax.Array, kind: jax.Array | int) -> jax.Array:
    """One kind (index into KINDS), random strength: blur of 1.5 to 3 px, colour gains of 15 %, a side."""
    first, second, third = jax.random.split(key, 3)

    def by_blur() -> jax.Array:
        return blur(frame, jax.random.uniform(first, (), minval=1.5, maxval=3.0))

    def by_colour() -> jax.Array:
        gain = jnp.exp(0.15 * jax.random.normal(first, (3,)))
        return shift_colour(frame, alpha, gain, 0.05 * jax.random.normal(second, (3,)))

    def by_mirror() -> jax.Array:
        return mirror(frame, jax.random.bernoulli(first))

    return jax.lax.switch(kind, [by_blur, by_colour, by_mirror])


def random_mix(key: jax.Array, frame: jax.Array, alpha: jax.Array, draft: jax.Array) -> jax.Array:
    """For training: one or more kinds at once, blur of 0.7 to 3.5 px in most; a half starts from the draft."""
    keys = jax.random.split(key, 8)
    frame = jnp.where(jax.random.bernoulli(keys[7]), draft, frame)
    mirrored = mirror(frame, jax.random.bernoulli(keys[0]))
    out = jnp.where(jax.random.uniform(keys[1]) < 0.3, mirrored, frame)
    gain = jnp.exp(0.15 * jax.random.normal(keys[2], (3,)))
    shifted = shift_colour(out, alpha, gain, 0.05 * jax.random.normal(keys[3], (3,)))
    out = jnp.where(jax.random.uniform(keys[4]) < 0.4, shifted, out)
    blurred = blur(out, jax.random.uniform(keys[5], (), minval=0.7, maxval=3.5))
    return jnp.where(jax.random.uniform(keys[6]) < 0.65, blurred, out)
