"""Losses between images [*B, H, W, C] in 0..1. Each returns one number per image, [*B].

`mask` [*B, H, W] weighs pixels. LPIPS: Zhang et al., "The unreasonable effectiveness of deep
features as a perceptual metric", 2018, equation 1, with VGG16 features.
"""

from __future__ import annotations

from typing import Any, TypedDict

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.types import Array

_WINDOW, _SIGMA = 11, 1.5  # Wang et al. 2004
_VGG_BLOCKS = (2, 2, 3, 3, 3)  # convolutions before each pooling; features leave at a block's end
_LPIPS_SHIFT = (-0.030, -0.088, -0.188)  # of the published LPIPS, for inputs in -1..1
_LPIPS_SCALE = (0.458, 0.448, 0.450)


class LpipsWeights(TypedDict):
    """Weights of LPIPS with VGG16, as plain arrays."""

    kernels: list[Array]  # 13 of [3, 3, C_in, C_out]
    biases: list[Array]  # 13 of [C_out]
    linear: list[Array]  # 5 of [C], one for each block, not negative


def _check(a: Array, b: Array) -> None:
    if a.shape != b.shape or a.ndim < 3:
        raise ValueError(f"a loss needs two arrays of one shape [*B, H, W, C], got {a.shape} and {b.shape}")


def _mean(values: Array, mask: Array | None) -> Array:
    """Mean [*B] of maps [*B, H, W], weighed by the mask; 0 where the mask is empty."""
    if mask is None:
        return jnp.mean(values, (-2, -1))
    weight = jnp.asarray(mask, values.dtype)
    return jnp.sum(values * weight, (-2, -1)) / jnp.maximum(jnp.sum(weight, (-2, -1)), 1e-8)


def l1(a: Array, b: Array, mask: Array | None = None) -> Array:
    """Mean absolute difference [*B]."""
    _check(a, b)
    return _mean(jnp.mean(jnp.abs(a - b), -1), mask)


def _blur_matrix(size: int) -> np.ndarray:
    """The Gaussian window as a band matrix [size - 10, size]: fast on every backend, and its gradient too."""
    window = np.exp(-0.5 * ((np.arange(_WINDOW) - _WINDOW // 2) / _SIGMA) ** 2)
    band = np.zeros((size - _WINDOW + 1, size), np.float32)
    for row in range(len(band)):
        band[row, row : row + _WINDOW] = window / window.sum()
    return band


def ssim(a: Array, b: Array, mask: Array | None = None) -> Array:
    """Structural similarity [*B], at most 1: window 11, sigma 1.5, whole windows only.

    Raises ValueError for images under 11 pixels.
    """
    _check(a, b)
    height, width = a.shape[-3:-1]
    if min(height, width) < _WINDOW:
        raise ValueError(f"ssim needs images of at least {_WINDOW} pixels, got {height}x{width}")
    rows, columns = _blur_matrix(height), _blur_matrix(width)

    def blur(image: Any) -> Any:
        image = jnp.einsum("ih,bhwc->biwc", rows, image, precision="highest")
        return jnp.einsum("jw,biwc->bijc", columns, image, precision="highest")

    flat = (-1, *a.shape[-3:])
    found = dm_pix.ssim(a.reshape(flat), b.reshape(flat), return_map=True, filter_fn=blur)
    values = jnp.mean(jnp.asarray(found), -1)
    values = values.reshape(*a.shape[:-3], *values.shape[1:])
    if mask is not None:
        edge = _WINDOW // 2
        mask = mask[..., edge : height - edge, edge : width - edge]
    return _mean(values, mask)


def _halve(image: Array) -> Array:
    """Means of 2x2 blocks of [*B, H, W, C]; an odd last row or column is left out."""
    height, width = image.shape[-3] // 2 * 2, image.shape[-2] // 2 * 2
    image = image[..., :height, :width, :]
    blocks = image.reshape(*image.shape[:-3], height // 2, 2, width // 2, 2, image.shape[-1])
    return jnp.mean(blocks, (-4, -2))


def dssim_multiscale(a: Array, b: Array, mask: Array | None = None, *, scales: int = 3) -> Array:
    """Mean of (1 - SSIM) / 2 over an image pyramid [*B], 0 for equal images.

    Each scale halves the last; those under 11 pixels are left out. Stands in for LPIPS where its
    weights are missing: the coarse scales see misplaced features that one SSIM window cannot.
    """
    _check(a, b)
    total, used = jnp.zeros(a.shape[:-3], a.dtype), 0
    weight = None if mask is None else jnp.asarray(mask, a.dtype)[..., None]
    for _ in range(scales):
        if used and min(a.shape[-3:-1]) < _WINDOW:
            break
        total += 0.5 * (1.0 - ssim(a, b, None if weight is None else weight[..., 0]))
        used += 1
        a, b = _halve(a), _halve(b)
        weight = None if weight is None else _halve(weight)
    return total / used


def _features(weights: LpipsWeights, image: Array) -> list[Array]:
    """Unit-length VGG16 features of [N, H, W, 3] in -1..1 at the end of the five blocks."""
    value = (jnp.asarray(image) - jnp.array(_LPIPS_SHIFT)) / jnp.array(_LPIPS_SCALE)
    layer, found = 0, []
    for block, count in enumerate(_VGG_BLOCKS):
        if block:
            value = jax.lax.reduce_window(value, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        for _ in range(count):
            value = jax.lax.conv_general_dilated(
                value,
                jnp.asarray(weights["kernels"][layer]),
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            value = jax.nn.relu(value + weights["biases"][layer])
            layer += 1
        found.append(value / jnp.sqrt(jnp.sum(value**2, -1, keepdims=True) + 1e-20))
    return found


def lpips(weights: LpipsWeights, a: Array, b: Array, mask: Array | None = None) -> Array:
    """Perceptual distance [*B] of rgb images [*B, H, W, 3] in 0..1, sides of at least 16 pixels.

    `weights` come from a converter; none are shipped. With a mask each layer's map is averaged under
    the mask at that layer's size. Raises ValueError for other shapes or numbers of layers.
    """
    _check(a, b)
    if min(a.shape[-3:-1]) < 16:
        raise ValueError(f"lpips needs images of at least 16 pixels, got {a.shape}")
    counts = tuple(len(weights[name]) for name in ("kernels", "biases", "linear"))
    if counts != (13, 13, 5):
        raise ValueError(f"lpips weights need 13 kernels, 13 biases and 5 linear layers, got {counts}")
    flat = (-1, *a.shape[-3:])
    pairs = zip(
        _features(weights, 2.0 * a.reshape(flat) - 1.0),
        _features(weights, 2.0 * b.reshape(flat) - 1.0),
        weights["linear"],
        strict=True,
    )
    total = jnp.zeros(a.shape[:-3], a.dtype)
    weight = None if mask is None else jnp.asarray(mask, a.dtype)[..., None]
    for level, (first, second, linear) in enumerate(pairs):
        if level and weight is not None:
            weight = _halve(weight)
        distance = jnp.sum((first - second) ** 2 * linear, -1)
        distance = distance.reshape(*a.shape[:-3], *distance.shape[1:])
        total += _mean(distance, None if weight is None else weight[..., 0])
    return total
