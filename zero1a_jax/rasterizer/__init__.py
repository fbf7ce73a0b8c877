"""3D Gaussian splatting: Gaussians and cameras to images, differentiable in both."""

from zero1a_jax.rasterizer.api import (
    count_intersections,
    default_capacity,
    has_kernels,
    inspect,
    render,
    suggest_capacity,
)
from zero1a_jax.rasterizer.derived import expected_depth, normals
from zero1a_jax.rasterizer.until_fits import until_fits

__all__ = [
    "count_intersections",
    "default_capacity",
    "expected_depth",
    "has_kernels",
    "inspect",
    "normals",
    "render",
    "suggest_capacity",
    "until_fits",
]
