"""Gaussians that ride on a head's triangles: how they start and how they are posed.

A Gaussian lives in its triangle's frame (`geometry.triangle_frames`): local position and scale are
multiples of the triangle's scale k. Source: Qian et al., "GaussianAvatars", arXiv 2312.02069, 3.2.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.flame.model import forward, shaped_template
from zero1a_jax.geometry.meshes import triangle_frames
from zero1a_jax.geometry.rotations import matrix_to_quat, quat_multiply, quat_normalize
from zero1a_jax.types import Array, Avatar, FlameModel, FlameParams, Gaussians

DEAD_LOGIT = -30.0  # opacity 1e-13: culled by every renderer
_LONGEST = 0.6  # of a starting axis, in triangle scales: where `scale_loss` begins
_THICKNESS = 0.1  # starting scale along the normal, in triangle scales


def _inplane_gaussian(local: Array) -> tuple[Array, Array]:
    """Standard deviations [F, 2] and angle about the normal [F] of triangles with local corners [F, 3, 3].

    Those of the uniform distribution on the triangle: covariance = sum of outer products of the
    corners (seen from the centroid) / 12.
    """
    x, z = local[..., 0], local[..., 2]
    xx, zz, xz = (jnp.sum(a * b, -1) / 12.0 for a, b in ((x, x), (z, z), (x, z)))
    middle, half = 0.5 * (xx + zz), jnp.hypot(0.5 * (xx - zz), xz)
    angle = 0.5 * jnp.arctan2(2.0 * xz, xx - zz)
    variances = jnp.stack([middle + half, jnp.maximum(middle - half, 0.0)], -1)
    return jnp.sqrt(variances), angle


def _extra_faces(key: Array, areas: Array, count: int) -> Array:
    """`count` face ids [count], spread over the surface in proportion to area (systematic sampling)."""
    reached = jnp.cumsum(areas)
    steps = (jnp.arange(count) + jax.random.uniform(key)) / max(count, 1)
    return jnp.minimum(jnp.searchsorted(reached, steps * reached[-1]), len(areas) - 1).astype(jnp.int32)


def bind(
    key: Array,
    model: FlameModel,
    shape: Array,
    *,
    capacity: int,
    count: int | None = None,
    degree: int = 0,
    opacity: float = 0.1,
    spread: float = 2.0,
) -> Avatar:
    """A new avatar with identity `shape` [S] and `capacity` slots, grey until it gets colours.

    The first F Gaussians sit at the triangles' centroids, one each. `count` (default F) Gaussians
    start alive; those beyond F lie at random points of triangles drawn in proportion to area. Each is
    a flat ellipse along its triangle's principal axes, `spread` times the standard deviation of the
    triangle's area (divided by the root of how many share the triangle), so that thin triangles are
    covered too, but at most 0.6 triangle scales, so that slivers inside the mouth do not reach out of it.
    `degree` is that of the spherical harmonics (K = (degree + 1)^2).

    Raises ValueError where `count` does not lie between F and `capacity`, or for another degree
    than 0 to 3.
    """
    faces = jnp.asarray(model.faces)
    total = faces.shape[0]
    count = total if count is None else count
    if not total <= count <= capacity:
        raise ValueError(f"need {total} faces <= count {count} <= capacity {capacity}; raise the capacity")
    if degree not in (0, 1, 2, 3):
        raise ValueError(f"degree must be 0, 1, 2 or 3, got {degree}")
    vertices = shaped_template(model, shape)
    origin, rotation, scale = triangle_frames(vertices, faces)
    corners = vertices[faces] - origin[:, None]
    local = jnp.einsum("fji,fcj->fci", rotation, corners, precision="highest") / scale[:, None, None]
    deviations, angle = _inplane_gaussian(local)
    areas = 0.5 * jnp.linalg.norm(
        jnp.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1
    )

    key_faces, key_points = jax.random.split(key)
    extra = _extra_faces(key_faces, areas, count - total)
    spare = jnp.arange(count, capacity, dtype=jnp.int32) % total
    face_ids = jnp.concatenate([jnp.arange(total, dtype=jnp.int32), extra, spare])
    alive = jnp.arange(capacity) < count
    weights = jax.random.dirichlet(key_points, jnp.ones(3), (capacity,))
    points = jnp.einsum("nc,ncx->nx", weights, local[face_ids])
    is_extra = (jnp.arange(capacity) >= total) & alive

    sharing = jnp.zeros(total).at[face_ids].add(alive.astype(jnp.float32))
    size = jnp.minimum(spread / jnp.sqrt(sharing)[:, None] * deviations, _LONGEST)
    axes = jnp.stack([size[:, 0], jnp.full(total, _THICKNESS), size[:, 1]], -1)
    # A turn by -angle about the local normal (y) takes x to the first principal axis in the x-z plane.
    half = -0.5 * angle
    zero = jnp.zeros_like(half)
    quats = jnp.stack([jnp.cos(half), zero, jnp.sin(half), zero], -1)
    gaussians = Gaussians(
        means=jnp.where(is_extra[:, None], points, 0.0),
        log_scales=jnp.log(jnp.maximum(axes, 1e-3))[face_ids],
        quats=quats[face_ids],
        sh=jnp.zeros((capacity, (degree + 1) ** 2, 3)),
        opacity_logits=jnp.full(capacity, jnp.log(opacity) - jnp.log1p(-opacity)),
    )
    return Avatar(gaussians=gaussians, face_ids=face_ids, alive=alive, shape=jnp.asarray(shape))


def to_world(avatar: Avatar, vertices: Array, faces: Array) -> Gaussians:
    """The avatar's Gaussians on a posed mesh, vertices [V, 3] in metres and faces [F, 3]."""
    origin, rotation, scale = triangle_frames(vertices, jnp.asarray(faces))
    turn = matrix_to_quat(rotation)
    local, ids = avatar.gaussians, avatar.face_ids
    moved = jnp.sum(rotation[ids] * local.means[:, None, :], -1)
    return Gaussians(
        means=scale[ids, None] * moved + origin[ids],
        log_scales=local.log_scales + jnp.log(scale)[ids, None],
        quats=quat_multiply(turn[ids], quat_normalize(local.quats)),
        sh=local.sh,
        opacity_logits=jnp.where(avatar.alive, local.opacity_logits, DEAD_LOGIT),
    )


def pose(avatar: Avatar, model: FlameModel, params: FlameParams) -> Gaussians:
    """The avatar's Gaussians in the world, for one set of `params` (vmap over more).

    The identity is the avatar's own: `params.shape` is not read, so motions of other people drive it.
    Quaternions come normalised; dead slots have opacity logit -30. Differentiable in the avatar's
    values and in `params`. Spherical harmonics stay in world space, as in GaussianAvatars.
    """
    vertices, _ = forward(model, params.replace(shape=avatar.shape))
    return to_world(avatar, vertices, model.faces)
