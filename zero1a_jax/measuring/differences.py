"""How one picture of an avatar differs from the true one: the figures of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.image import losses, metrics, ops
from zero1a_jax.types import Array

Figures = dict[str, float | None]  # None: cannot be told of this picture
Judge = Callable[[np.ndarray, np.ndarray, np.ndarray], Mapping[str, float | None]]  # (image, truth, mask)

PICTURE_METRICS = (
    "psnr",
    "ssim",
    "psnr_frame",
    "ssim_frame",
    "psnr_colour",
    "ssim_colour",
    "psnr_aligned",
    "ssim_aligned",
    "sharpness",
)
_COLOURS_SEED = 20261128


def colour(pair: int) -> np.ndarray:
    """The random background [3] of a pair, in 0..1; the same for every avatar."""
    return np.random.default_rng([_COLOURS_SEED, pair]).random(3).astype(np.float32)


def differences(
    image: Array, cover: Array | None, truth: Array, alpha: Array, pair: int, judges: Sequence[Judge] = ()
) -> Figures:
    """All figures of one picture.

    Args:
      image: [H, W, 3] in 0..1, over white. cover: its opacity [H, W]; None where it has none.
      truth: [H, W, 3], over white. alpha: its opacity [H, W].
      pair: decides the random colour.
      judges: what else is asked, of the pictures over white and the mask alpha > 0.5.

    Returns:
      psnr (dB) and ssim: means over the mask, over white; ..._frame: over the whole picture; ..._colour: over
      the whole picture before a random colour, so that what is pale and what is transparent are told apart;
      ..._aligned: over the mask after the best shift and turn in the plane. sharpness: energy of fine detail
      over the truth's. Then what the judges say.
    """
    image, truth, alpha = (np.asarray(x, np.float32) for x in (image, truth, alpha))
    mask = alpha > 0.5
    found: Figures = _scores(image, truth, mask, "") | _scores(image, truth, None, "_frame")
    if cover is None:
        found |= {"psnr_colour": None, "ssim_colour": None}
    else:
        behind = colour(pair) - 1.0  # what white becomes
        shown = image + (1.0 - np.asarray(cover)[..., None]) * behind
        found |= _scores(shown, truth + (1.0 - alpha[..., None]) * behind, None, "_colour")
    moved = metrics.aligned(image, truth, mask).astype(np.float32)
    found |= _scores(moved, truth, mask, "_aligned")
    found["sharpness"] = metrics.sharpness(image, truth, mask)
    for judge in judges:
        found |= judge(image, truth, mask)
    return found


def _scores(image: Array, truth: Array, mask: Array | None, suffix: str) -> Figures:
    psnr, ssim = _both(image, truth, mask)
    return {f"psnr{suffix}": float(psnr), f"ssim{suffix}": float(ssim)}


@jax.jit
def _both(image: Array, truth: Array, mask: Array | None) -> tuple[Array, Array]:
    weight = None if mask is None else jnp.asarray(mask, jnp.float32)
    return ops.psnr(image, truth, weight), losses.ssim(image, truth, weight)
