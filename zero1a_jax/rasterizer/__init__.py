"""3D Gaussian splatting: Gaussians and cameras to images, differentiable in both."""

from zero1a_jax.rasterizer.api import count_intersections, default_capacity, render, suggest_capacity

__all__ = ["count_intersections", "default_capacity", "render", "suggest_capacity"]
