"""What SymGEN hands to the diffusion: renders that are blurred, spotted, off in colour, or half mirrored."""

from __future__ import annotations

import jax
import jax.numpy as jnp

KINDS = ("blur", "colour", "mirror")
RADIUS = 8  # pixels of the blur kernel


def blur(frame: jax.Array, sigma: jax.Array | float) -> jax.Array:
    """Gaussian blur of [H, W, 3], sigma in pixels (traced), edges replicated."""

    def band(size: int) -> jax.Array:
        to, of = jnp.arange(size)[:, None], jnp.arange(-RADIUS, size + RADIUS)
        weight = jnp.where(jnp.abs(to - of) <= RADIUS, jnp.exp(-0.5 * ((to - of) / sigma) ** 2), 0.0)
        inner = weight[:, RADIUS:-RADIUS]
        inner = inner.at[:, 0].add(weight[:, :RADIUS].sum(1)).at[:, -1].add(weight[:, -RADIUS:].sum(1))
        return inner / inner.sum(1, keepdims=True)

    height, width = frame.shape[:2]
    return jnp.einsum("ij,jkc,lk->ilc", band(height), frame, band(width))


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


def speckle(key: jax.Array, frame: jax.Array, alpha: jax.Array) -> jax.Array:
    """Spots of 2 to 8 pixels on the head, as an avatar has them that was fitted to frames that disagree."""
    first, second, third, fourth = jax.random.split(key, 4)
    size = frame.shape[:2]

    def spots(key: jax.Array, side: int) -> jax.Array:
        grey, colour = jax.random.split(key)
        shape = (size[0] // side, size[1] // side)
        noise = jax.random.normal(grey, (*shape, 1)) + 0.25 * jax.random.normal(colour, (*shape, 3))
        return jax.image.resize(noise, (*size, 3), "linear")

    mix = jax.random.uniform(third)
    noise = jnp.sqrt(mix) * spots(first, 2) + jnp.sqrt(1 - mix) * spots(second, 4)
    changed = jnp.clip(frame + jax.random.uniform(fourth, (), minval=0.02, maxval=0.12) * noise, 0, 1)
    return frame + alpha[..., None] * (changed - frame)


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
    """For training: several kinds at once, blur of 0.7 to 3.5 px in most. A half starts from the draft, which
    is neither mirrored nor as often off in colour: the avatar's first colours are the portrait's."""
    keys = jax.random.split(key, 10)
    drafted = jax.random.bernoulli(keys[7])
    frame = jnp.where(drafted, draft, frame)
    mirrored = mirror(frame, jax.random.bernoulli(keys[0]))
    out = jnp.where(~drafted & (jax.random.uniform(keys[1]) < 0.3), mirrored, frame)
    gain = jnp.exp(0.15 * jax.random.normal(keys[2], (3,)))
    shifted = shift_colour(out, alpha, gain, 0.05 * jax.random.normal(keys[3], (3,)))
    out = jnp.where(jax.random.uniform(keys[4]) < jnp.where(drafted, 0.15, 0.4), shifted, out)
    blurred = blur(out, jax.random.uniform(keys[5], (), minval=0.7, maxval=3.5))
    out = jnp.where(jax.random.uniform(keys[6]) < jnp.where(drafted, 0.3, 0.6), blurred, out)
    return jnp.where(jax.random.bernoulli(keys[8], 0.35), speckle(keys[9], out, alpha), out)
