"""Triangle meshes: local frames and normals."""

from __future__ import annotations

import jax.numpy as jnp

from zero1a_jax.types import Array

_EPS = 1e-20  # inside square roots, as in GaussianAvatars
_SMALLEST_SCALE = 1e-7  # metres; keeps logarithms of a degenerate triangle's scale finite


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(a * b, -1, keepdims=True)


def _length(vector: Array) -> Array:
    return jnp.sqrt(jnp.maximum(_dot(vector, vector), _EPS))


def _perpendicular(axis: Array) -> Array:
    """Some unit vector perpendicular to the unit vectors `axis` [*B, 3]."""
    helper = jnp.where(jnp.abs(axis[..., :1]) < 0.6, jnp.array([1.0, 0, 0]), jnp.array([0, 1.0, 0]))
    side = jnp.cross(axis, helper.astype(axis.dtype))
    return side / _length(side)


def triangle_frames(vertices: Array, faces: Array) -> tuple[Array, Array, Array]:
    """A frame per triangle, as in GaussianAvatars (arXiv 2312.02069, section 3.1).

    vertices [*B, V, 3] in metres, faces [F, 3]. Returns the centroid [*B, F, 3], rotation
    [*B, F, 3, 3] with columns (edge 0->1, normal, their cross product), right-handed, and the
    scale [*B, F] in metres: the mean of base and height. A triangle without area gets a proper
    rotation with an arbitrary normal and a scale of at least 1e-7 m.
    """
    first, second, third = (jnp.take(vertices, faces[:, i], axis=-2) for i in range(3))
    base, side = second - first, third - first
    has_base = _dot(base, base) > _EPS
    unit_x = jnp.zeros_like(base).at[..., 0].set(1.0)
    a0 = jnp.where(has_base, base / _length(base), unit_x)
    normal = jnp.cross(a0, side)
    has_area = _dot(normal, normal) > _EPS
    a1 = jnp.where(has_area, normal / _length(normal), _perpendicular(a0))
    a2 = jnp.cross(a0, a1)
    height = jnp.abs(_dot(a2, side))
    scale = jnp.maximum(0.5 * (_length(base) + height)[..., 0], _SMALLEST_SCALE)
    return (first + second + third) / 3.0, jnp.stack([a0, a1, a2], -1), scale


def face_normals(vertices: Array, faces: Array, *, unit: bool = True) -> Array:
    """Outward normals [*B, F, 3] of triangles; with `unit=False` their length is twice the area."""
    first, second, third = (jnp.take(vertices, faces[:, i], axis=-2) for i in range(3))
    normal = jnp.cross(second - first, third - first)
    return normal / _length(normal) if unit else normal


def at_points(corners: Array, ids: Array, weights: Array) -> Array:
    """Values [P, C] at points of a mesh, from those at its triangles' `corners`, [F, 3, C].

    Args:
      ids: [P] int, the points' triangles, each within 0..F - 1. weights: [P, 3], their barycentric weights.
    """
    # A row for a triangle: vertices' values one by one take fifty times as long on a CPU.
    rows = corners.reshape(len(corners), -1).at[ids].get(mode="promise_in_bounds")
    first, second, third = jnp.split(rows, 3, -1)
    return first * weights[:, :1] + second * weights[:, 1:2] + third * weights[:, 2:]


def vertex_normals(vertices: Array, faces: Array) -> Array:
    """Unit normals [*B, V, 3]: the area-weighted mean over the triangles around each vertex."""
    normal = face_normals(vertices, faces, unit=False)
    total = jnp.zeros_like(vertices)
    for i in range(3):
        total = total.at[..., faces[:, i], :].add(normal)
    return total / _length(total)
