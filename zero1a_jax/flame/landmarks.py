"""Landmarks on a posed head: iBUG's 68, MediaPipe's 105, the 119 that AniPortrait draws, and the pupils.

A landmark is a barycentric mix of a triangle's corners. The face contour slides over the mesh as the
head turns: a table of 79 rows, one per degree of yaw, says which triangles it passes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from zero1a_jax.geometry.rotations import axis_angle_to_matrix
from zero1a_jax.image.landmarks import DRAWN_MEDIAPIPE, OUTLINE
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

_LAST_DEGREE = 39  # rows 0..39 hold yaw 0..39 degrees, rows 40..78 hold -1..-39
_FEATURES = np.array(DRAWN_MEDIAPIPE[: -len(OUTLINE)])


def _require(model: FlameModel, *names: str) -> None:
    missing = [name for name in names if getattr(model, name) is None]
    if missing:
        raise ValueError(f"this FlameModel has no {missing[0]}; load it with its landmark embedding files")


def _embed(vertices: Array, faces: Array, triangles: Array | None, barycentrics: Array | None) -> Array:
    """Points [*B, L, 3] at triangles [L] and barycentrics [L, 3] of one mesh topology."""
    corners = jnp.asarray(faces)[jnp.asarray(triangles)]
    weights = jnp.asarray(barycentrics, vertices.dtype)
    first, second, third = (jnp.take(vertices, corners[:, i], axis=-2) for i in range(3))
    return first * weights[:, :1] + second * weights[:, 1:2] + third * weights[:, 2:]


def contour_row(params: FlameParams, *, neck: bool = True, camera: Camera | None = None) -> Array:
    """Row [*B] int32 (0..78) of the contour table for the head's yaw.

    Yaw comes from the root rotation and, unless `neck` is False, the neck's. FLAME_PyTorch, DECA and
    GaussianAvatars include the neck, smplx does not. With a `camera` the yaw is seen from it, else
    from +z. Piecewise constant, so no gradient passes.
    """
    rotation = axis_angle_to_matrix(params.rotation)
    if neck:
        rotation = jnp.matmul(rotation, axis_angle_to_matrix(params.neck), precision="highest")
    if camera is not None:
        flip = jnp.array([1.0, -1.0, -1.0], rotation.dtype)[:, None]
        view = flip * camera.world_to_camera[..., :3, :3]
        rotation = jnp.matmul(view, rotation, precision="highest")
    rotation = jax.lax.stop_gradient(rotation)
    side = jnp.sqrt(rotation[..., 0, 0] ** 2 + rotation[..., 1, 0] ** 2)
    yaw = jnp.degrees(-jnp.arctan2(-rotation[..., 2, 0], side))
    degree = jnp.round(jnp.minimum(yaw, _LAST_DEGREE)).astype(jnp.int32)
    return jnp.where(degree >= 0, degree, jnp.minimum(_LAST_DEGREE - degree, 2 * _LAST_DEGREE))


def _contour(model: FlameModel, vertices: Array, row: Array) -> Array:
    """The 17 contour points [*B, 17, 3] of the table's rows [*B], right ear to left ear."""
    corners = jnp.asarray(model.faces)[jnp.asarray(model.contour_faces)[row]]  # [*B, 17, 3]
    weights = jnp.asarray(model.contour_barycentrics, vertices.dtype)[row]
    batch = jnp.broadcast_shapes(vertices.shape[:-2], row.shape)
    vertices = jnp.broadcast_to(vertices, (*batch, *vertices.shape[-2:]))
    flat = jnp.broadcast_to(corners, (*batch, *corners.shape[-2:])).reshape(*batch, -1, 1)
    points = jnp.take_along_axis(vertices, flat, -2).reshape(*batch, *corners.shape[-2:], 3)
    return jnp.sum(points * weights[..., None], -2)


def landmarks68(
    model: FlameModel,
    vertices: Array,
    params: FlameParams,
    *,
    neck: bool = True,
    camera: Camera | None = None,
) -> Array:
    """iBUG's 68 landmarks [*B, 68, 3] of posed vertices [*B, V, 3], metres, the world of the vertices.

    0..16 is the contour from the subject's right ear (-x) to the left; its row is chosen as
    `contour_row` says (`neck=False` is smplx's convention). 17..67 are brows, nose, eyes and mouth.
    Raises ValueError where the model has no landmark embedding.
    """
    _require(model, "landmark_faces", "contour_faces")
    contour = _contour(model, vertices, contour_row(params, neck=neck, camera=camera))
    inner = _embed(vertices, model.faces, model.landmark_faces, model.landmark_barycentrics)
    inner = jnp.broadcast_to(inner, (*contour.shape[:-2], *inner.shape[-2:]))
    return jnp.concatenate([contour, inner], -2)


def landmarks_mediapipe(model: FlameModel, vertices: Array) -> Array:
    """The embedded MediaPipe points [*B, 105, 3] of posed vertices [*B, V, 3], metres.

    Row i is point `model.mediapipe_indices[i]` of MediaPipe's face mesh: brows, eyes, nose and lips.
    Raises ValueError where the model has no MediaPipe embedding.
    """
    _require(model, "mediapipe_faces")
    return _embed(vertices, model.faces, model.mediapipe_faces, model.mediapipe_barycentrics)


def _drawn_rows(indices: Array | None) -> Array | np.ndarray:
    """Where the 92 drawn feature ids stand among the embedded ids [L]."""
    if isinstance(indices, Tracer):
        return jnp.argmax(indices[None, :] == _FEATURES[:, None], 1)
    found = np.asarray(indices)[None, :] == _FEATURES[:, None]
    if not found.any(1).all():
        absent = _FEATURES[~found.any(1)].tolist()
        raise ValueError(f"model.mediapipe_indices lacks points that are drawn: {absent}; add them")
    return found.argmax(1)


def equal_steps(points: Array, count: int) -> Array:
    """`count` points [*B, count, D] at equal steps of arc length along polylines [*B, P, D]."""
    step = points[..., 1:, :] - points[..., :-1, :]
    length = jnp.sqrt(jnp.maximum(jnp.sum(step * step, -1), 1e-20))
    reached = jnp.cumsum(length, -1)
    start = reached - length
    wanted = jnp.linspace(0.0, 1.0, count, dtype=points.dtype) * reached[..., -1:]
    segment = jnp.sum(wanted[..., None] > reached[..., None, :-1], -1)  # [*B, count]
    part = wanted - jnp.take_along_axis(start, segment, -1)
    part = part / jnp.take_along_axis(length, segment, -1)
    first = jnp.take_along_axis(points, segment[..., None], -2)
    return first + part[..., None] * jnp.take_along_axis(step, segment[..., None], -2)


def landmarks_drawn(
    model: FlameModel, vertices: Array, params: FlameParams, *, camera: Camera | None = None
) -> Array:
    """The points of AniPortrait's landmark image [*B, 119, 3], metres, in the order of DRAWN_MEDIAPIPE.

    First the 92 embedded feature points that are drawn, then the outline of 27. The embedding has no
    outline points, so that chain (21-162-127-234-93- ... -152- ... -389-251, which runs from the
    subject's right temple under the chin to the left) is laid at equal steps of arc length along
    iBUG's 17 contour points, which run the same way; its 14th point (152) is the chin.
    Raises ValueError where the model lacks an embedding or a drawn point.
    """
    _require(model, "mediapipe_faces", "contour_faces")
    features = landmarks_mediapipe(model, vertices)[..., _drawn_rows(model.mediapipe_indices), :]
    outline = equal_steps(_contour(model, vertices, contour_row(params, camera=camera)), len(OUTLINE))
    features = jnp.broadcast_to(features, (*outline.shape[:-2], *features.shape[-2:]))
    return jnp.concatenate([features, outline], -2)


def pupils(model: FlameModel, vertices: Array) -> Array:
    """The subject's right and left pupil [*B, 2, 3] of posed vertices [*B, V, 3], metres.

    They stand for MediaPipe's points 468 and 473. Each is the vertex that lies foremost in the template
    among those that follow the eye's joint.
    """
    weights, depth = jnp.asarray(model.skinning)[:, (4, 3)], jnp.asarray(model.template)[:, 2:]
    foremost = jnp.argmax(jnp.where(weights > 0.5, depth, -jnp.inf), 0)
    return jnp.take(vertices, foremost, axis=-2)
