"""The avatar: Gaussians rigged to a head's triangles."""

from zero1a_jax.avatar.bind import bind, pose, to_world
from zero1a_jax.avatar.colours import colours_from_portrait, nearest_depth, sample_visible
from zero1a_jax.avatar.density import (
    Statistics,
    accumulate,
    density_control,
    reset_moments,
    zero_statistics,
)
from zero1a_jax.avatar.losses import position_loss, scale_loss
from zero1a_jax.avatar.outside import cover_outside, moved

__all__ = [
    "Statistics",
    "accumulate",
    "bind",
    "colours_from_portrait",
    "cover_outside",
    "density_control",
    "moved",
    "nearest_depth",
    "pose",
    "position_loss",
    "reset_moments",
    "sample_visible",
    "scale_loss",
    "to_world",
    "zero_statistics",
]
