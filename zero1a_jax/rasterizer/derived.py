"""What follows from a rendering, or goes into one as features: depth, normals."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.geometry import quat_to_matrix
from zero1a_jax.geometry.cameras import position
from zero1a_jax.types import Camera, Gaussians, Render

FRAMES = ("camera", "world")


def expected_depth(render: Render) -> jax.Array:
    """The mean camera z of what a pixel shows, [*B, H, W] metres; 0 where it shows nothing. Differentiable.

    That is the accumulated depth over alpha (gsplat's mode ED).
    """
    covered = render.alpha > 0
    return jnp.where(covered, render.depth / jnp.where(covered, render.alpha, 1.0), 0.0)


def normals(gaussians: Gaussians, camera: Camera, *, frame: str = "camera") -> jax.Array:
    """The Gaussians' normals [*B, N, 3] for cameras [*B]: unit shortest axes, turned toward the camera.

    In the camera's frame (x right, y down, z forward) or the "world". Rendered as `features`, their sum has
    alpha's length at most: normalise it, or divide by alpha, as the use asks. Differentiable in the
    quaternions and the camera; which axis is shortest, and on which side the camera is, count as given.
    Raises: ValueError for another frame. Source: Jiang et al. 2024, GaussianShader.
    """
    if frame not in FRAMES:
        raise ValueError(f"frame {frame!r} is unknown; use one of {FRAMES}.")
    shortest = jnp.argmin(gaussians.log_scales, -1)
    axes = quat_to_matrix(gaussians.quats)  # in columns
    axis = jnp.take_along_axis(axes, shortest[:, None, None], -1)[..., 0]
    toward = position(camera)[..., None, :] - gaussians.means
    facing = jnp.where(jnp.sum(axis * toward, -1, keepdims=True) < 0, -1.0, 1.0)
    normal = facing * axis
    if frame == "world":
        return normal
    rotation = camera.world_to_camera[..., :3, :3]
    return jnp.einsum("...ij,...nj->...ni", rotation, normal, precision="highest")
