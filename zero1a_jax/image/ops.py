"""Images: [*B, H, W, C] floats, 0..1. Everything is differentiable and broadcasts over *B."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.types import Array


def linear(image: Array) -> Array:
    """sRGB values in 0..1 to linear light (IEC 61966-2-1)."""
    low = image <= 0.04045
    curve = ((jnp.where(low, 0.5, image) + 0.055) / 1.055) ** 2.4
    return jnp.where(low, image / 12.92, curve)


def srgb(image: Array) -> Array:
    """Linear light in 0..1 to sRGB values (IEC 61966-2-1)."""
    low = image <= 0.0031308
    curve = 1.055 * jnp.where(low, 0.5, image) ** (1.0 / 2.4) - 0.055
    return jnp.where(low, image * 12.92, curve)


def resize(image: Array, height: int, width: int) -> Array:
    """Images [*B, H, W, C] at [*B, height, width, C]: bilinear, averaged when they shrink."""
    _check_image(image)
    shape = (*image.shape[:-3], height, width, image.shape[-1])
    return jax.image.resize(image, shape, "linear", antialias=True)


def crop(image: Array, box: Array, size: int | tuple[int, int], *, fill: Array | float = 0.0) -> Array:
    """The part of images [*B, H, W, C] inside boxes [*B, 4], at `size` (a side, or height and width).

    A box is (left, top, right, bottom) in pixels, edges of pixels being whole numbers; it may reach
    over the border, where the result is `fill` (a number or [C]). Bilinear, averaged when it
    shrinks; differentiable in image and box.
    """
    _check_image(image)
    height, width = (size, size) if isinstance(size, int) else size
    box = jnp.asarray(box, image.dtype)
    if box.shape != (*image.shape[:-3], 4):
        raise ValueError(f"crop needs one box of 4 numbers per image, got {box.shape} for {image.shape}")

    def one(picture: Array, corners: Array) -> Array:
        scale = jnp.array([height, width]) / jnp.stack([corners[3] - corners[1], corners[2] - corners[0]])
        shift = -jnp.stack([corners[1], corners[0]]) * scale
        shape = (height, width, picture.shape[-1])
        return jax.image.scale_and_translate(
            picture, shape, (0, 1), scale.astype(picture.dtype), shift.astype(picture.dtype), "linear"
        )

    for _ in image.shape[:-3]:
        one = jax.vmap(one)
    # Outside the image the sampler gives 0; shifting by the fill makes that the fill.
    return one(image - fill, box) + fill


def composite(rgb: Array, alpha: Array, background: Array) -> Array:
    """Straight colours [*B, H, W, 3] with coverage [*B, H, W] over a background, [3] or images."""
    return rgb * alpha[..., None] + background * (1.0 - alpha[..., None])


def psnr(a: Array, b: Array, mask: Array | None = None) -> Array:
    """Peak signal-to-noise ratio [*B] in dB of images [*B, H, W, C] in 0..1, at most 100.

    `mask` [*B, H, W] weighs the pixels; where it is all zero the result is 100.
    """
    error = jnp.mean((a - b) ** 2, -1)
    if mask is None:
        mean = jnp.mean(error, (-2, -1))
    else:
        weight = jnp.asarray(mask, error.dtype)
        mean = jnp.sum(error * weight, (-2, -1)) / jnp.maximum(jnp.sum(weight, (-2, -1)), 1e-8)
    return -10.0 * jnp.log10(jnp.maximum(mean, 1e-10))


def _check_image(image: Array) -> None:
    if image.ndim < 3:
        raise ValueError(f"an image needs the axes [*B, H, W, C], got {image.shape}; add the channel axis")
