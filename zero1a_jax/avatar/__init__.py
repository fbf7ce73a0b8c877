"""The avatar: Gaussians rigged to a head's triangles."""

from zero1a_jax.avatar.bind import bind, pose, to_world
from zero1a_jax.avatar.blur import pose_blurred
from zero1a_jax.avatar.colours import MOUTH, bilinear, colours_from_portrait, part_ids, smoothstep
from zero1a_jax.avatar.density import (
    Statistics,
    accumulate,
    density_control,
    reset_moments,
    zero_statistics,
)
from zero1a_jax.avatar.losses import position_loss, scale_loss
from zero1a_jax.avatar.outside import at_vertices, cover_outside, moved

__all__ = [
    "MOUTH",
    "Statistics",
    "accumulate",
    "at_vertices",
    "bilinear",
    "bind",
    "colours_from_portrait",
    "cover_outside",
    "density_control",
    "moved",
    "part_ids",
    "pose",
    "pose_blurred",
    "position_loss",
    "reset_moments",
    "scale_loss",
    "smoothstep",
    "to_world",
    "zero_statistics",
]
