"""Image operations, losses and the drawn landmark image."""

from zero1a_jax.image.landmarks import DRAWN_MEDIAPIPE, draw
from zero1a_jax.image.losses import LpipsWeights, dssim_multiscale, l1, lpips, ssim
from zero1a_jax.image.ops import composite, crop, linear, psnr, resize, srgb

__all__ = [
    "DRAWN_MEDIAPIPE",
    "LpipsWeights",
    "composite",
    "crop",
    "draw",
    "dssim_multiscale",
    "l1",
    "linear",
    "lpips",
    "psnr",
    "resize",
    "srgb",
    "ssim",
]
