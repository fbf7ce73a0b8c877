"""The portrait carried over to other views by the mesh: what it saw of the surface, it knows better.

A generated frame invents what the portrait does not show; where the portrait does show the surface, from not
too flat an angle, its own colours outrank the invention. [D]
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from zero1a_jax.avatar import MOUTH, at_vertices, bilinear, moved, part_ids, smoothstep
from zero1a_jax.flame import forward
from zero1a_jax.geometry import at_points, face_normals, position, project, resize, vertex_normals, zbuffer
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams, Portrait

SUPERSAMPLE = 2
_FINE = 4  # the portrait's surface is looked at in pixels so many times smaller, or its borders are jagged
_FACING = (0.20, 0.55)  # cosine to the viewer between which trust rises from 0 to 1
_FACING_HAIR = (0.30, 0.65)  # the same of hair: it stands off by guess, and is another at its rim
_HAIR = (0.002, 0.006)  # metres off the mesh between which it is hair
_COVERED = (0.90, 0.999)  # the same for the portrait's alpha around: rims carry background
_STEP = 0.004  # metres by which a surface before another hides part of it
_RIM = 3  # half the side, in fine pixels, of what is looked at around a point
_BLEEDS = 5  # fine pixels from an eye, or another part, at which a pixel of the portrait holds some of it
_MOVED = (0.002, 0.006)  # metres by which an expression moves skin: between them such pixels lose their trust
_LIDS = (0.002, 0.005)  # the same for lids, which then trust nothing: what they showed was folded
_RAISED = 1.25  # times the portrait's finest detail, some of which is lost where frames average it anew
_SLACK = 0.0015  # metres behind the z-buffer at which a point still counts as seen
_STRETCHED = (2.0, 4.0)  # times its area in the portrait between which a triangle's trust falls to 0


@struct.dataclass
class Seen:
    """What the portrait saw of the head's surface, made once a run. Pictures [H, W] are of fine pixels."""

    # [H, W, 5]: red, green, blue; 0..1, how far they are the surface's; the same without skin right beside
    # eyes, teeth or tongue
    colours: Array
    nearest: Array  # [H, W, 2], of the head in the portrait: metres, and which of `part_ids`, -1 beside it
    camera: Camera  # of these pictures
    vertices: Array  # [V, 3] of the head as the portrait shows it
    still: Array  # [V, 3] of the same unturned
    offset: Array | None  # [F, 3] metres in the triangles' frames, by which they stand off the mesh


def seen_by(portrait: Portrait, model: FlameModel, offset: Array | None = None) -> Seen:
    """The surface as the fitted portrait shows it.

    Trust ends softly: before it is lost to the angle, to something that hides the surface, or to the person's
    rim. So no border of it is seen in what is carried.
    """
    portrait, faces = jax.tree.map(jnp.asarray, portrait), jnp.asarray(model.faces)
    camera = resize(portrait.camera, _FINE * portrait.camera.height, _FINE * portrait.camera.width)
    vertices = _vertices(model, portrait.flame, offset)
    face_id, weights, depth = zbuffer(*project(camera, vertices), faces, camera.height, camera.width)
    ids, hit = jnp.maximum(face_id, 0), face_id >= 0
    shape = (camera.height, camera.width)

    corners = faces[ids]
    normal = jnp.sum(vertex_normals(vertices, faces)[corners] * weights[..., None], 2)
    view = position(camera) - jnp.sum(vertices[corners] * weights[..., None], 2)
    cosine = jnp.sum(normal * view, -1) / jnp.maximum(
        jnp.linalg.norm(normal, axis=-1) * jnp.linalg.norm(view, axis=-1), 1e-9
    )
    # What lies behind something near by: on a slope depth changes too, by so much.
    slope = jnp.sqrt(1.0 - jnp.clip(cosine, 0.2, 1.0) ** 2) / jnp.clip(cosine, 0.2, 1.0)
    reach = 2 * _RIM * depth / camera.focal[0]
    nearest = _around(depth, 2 * _RIM, jnp.inf, jax.lax.min)
    hidden = jnp.where(hit, (depth - nearest > _STEP + reach * slope).astype(jnp.float32), 0.0)
    alpha = jax.image.resize(_around(portrait.alpha, 1, 1.0, jax.lax.min), shape, "linear")
    facing = smoothstep(cosine, *_FACING)
    if offset is not None:
        off = jnp.linalg.norm(at_vertices(offset, faces, len(vertices)), axis=-1)
        hair = smoothstep(jnp.sum(off[corners] * weights, 2), *_HAIR)
        facing = facing + hair * (smoothstep(cosine, *_FACING_HAIR) - facing)
    sure = facing * smoothstep(alpha, *_COVERED) * hit
    sure = sure * (1.0 - _mean(_mean(hidden, _RIM), _RIM)) * (1.0 - hidden)
    part = jnp.where(hit, part_ids(model)[ids], -1)
    # Not the pocket behind the lips: closed ones show a line of it, and so are their own.
    other = _around((part > MOUTH).astype(jnp.float32), _BLEEDS, 0.0, jax.lax.max)
    apart = jnp.where(part > 0, sure, sure * (1.0 - _mean(other, 2)))
    rgb = jnp.clip(jax.image.resize(_crisp(portrait.rgb), (*shape, 3), "cubic"), 0.0, 1.0)
    return Seen(
        jnp.concatenate([rgb, sure[..., None], apart[..., None]], -1),
        jnp.stack([depth, part.astype(jnp.float32)], -1),
        camera,
        vertices,
        _still(model, portrait.flame),
        offset,
    )


@struct.dataclass
class Surface:
    """What is seen of the head in a frame, at P = SUPERSAMPLE^2 H W points."""

    stretch: Array  # [F] areas of the triangles over those in the portrait
    strained: Array  # [V] metres by which the expression moves them from where they are in the portrait
    ids: Array  # [P] triangles
    weights: Array  # [P, 3] barycentric
    cover: Array  # [P] 0 or 1


def surface(seen: Seen, model: FlameModel, params: FlameParams, camera: Camera) -> Surface:
    """Of one frame."""
    fine = resize(camera, camera.height * SUPERSAMPLE, camera.width * SUPERSAMPLE)
    vertices, faces = _vertices(model, params, seen.offset), jnp.asarray(model.faces)
    pixels, depth = project(fine, vertices)
    face_id, weights, _ = zbuffer(pixels, depth, faces, fine.height, fine.width)
    stretch = _areas(vertices, faces) / jnp.maximum(_areas(seen.vertices, faces), 1e-12)
    strained = jnp.linalg.norm(_still(model, params) - seen.still, axis=-1)
    ids, cover = jnp.maximum(face_id, 0).reshape(-1), (face_id >= 0).astype(jnp.float32).reshape(-1)
    return Surface(stretch, strained, ids, weights.reshape(-1, 3), cover)


def carried(seen: Seen, model: FlameModel, at: Surface) -> tuple[Array, Array]:
    """The portrait's colours [P, 3] on a frame's surface, and trust [P] in 0..1, also beside the mesh."""
    faces, camera = jnp.asarray(model.faces), seen.camera
    of_vertices = jnp.concatenate([seen.vertices, at.strained[:, None], _lids(model)[:, None]], 1)
    here = at_points(of_vertices[faces], at.ids, at.weights)
    points, metres, lids = here[:, :3], here[:, 3], here[:, 4]
    pixels, depth = project(camera, points)
    column, row = jnp.floor(pixels[:, 0]).astype(jnp.int32), jnp.floor(pixels[:, 1]).astype(jnp.int32)
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height) & (depth > 0)
    row, column = jnp.clip(row, 0, camera.height - 1), jnp.clip(column, 0, camera.width - 1)
    place = row * camera.width + column
    ahead, part = seen.nearest.reshape(-1, 2).at[place].get(mode="promise_in_bounds").T
    front = inside & (depth <= ahead + _SLACK) & (part == part_ids(model)[at.ids])
    values = bilinear(seen.colours, pixels)
    sure = values[:, 3] + smoothstep(metres, *_MOVED) * (values[:, 4] - values[:, 3])
    sure = sure * (1.0 - lids * smoothstep(metres, *_LIDS))
    return values[:, :3], sure * front * (1.0 - smoothstep(at.stretch, *_STRETCHED))[at.ids]


def shrunk(values: Array, camera: Camera) -> Array:
    """Values [P, ...] of a frame's surface as means over its pixels, [H, W, ...]."""
    shape = (camera.height, SUPERSAMPLE, camera.width, SUPERSAMPLE)
    return values.reshape(*shape, *values.shape[1:]).mean((1, 3))


def carry_over(seen: Seen, model: FlameModel, flame: FlameParams, camera: Camera) -> tuple[Array, Array]:
    """The portrait's colours on the head in other poses, from other views.

    Args:
      seen: of the portrait. model: its head.
      flame, camera: [T], the frames.

    Returns:
      rgb [T, H, W, 3] and trust [T, H, W] in 0..1: 0 beside the mesh, where the portrait did not see the
      surface, saw it from too flat an angle, or at the person's rim.
    """

    def frame(item: tuple[FlameParams, Camera]) -> tuple[Array, Array]:
        params, view = item
        at = surface(seen, model, params, view)
        return in_pixels(*carried(seen, model, at), at, view)

    return jax.lax.map(frame, (flame, camera))


def in_pixels(rgb: Array, trust: Array, at: Surface, camera: Camera) -> tuple[Array, Array]:
    """What is `carried` to a frame's surface, colours [P, 3] and trust [P], as pictures of the frame."""
    trust = trust * at.cover
    total = shrunk(trust, camera)
    return shrunk(rgb * trust[:, None], camera) / jnp.maximum(total, 1e-6)[..., None], total


def outrank(frames: Array, carried: tuple[Array, Array]) -> Array:
    """Generated frames [T, H, W, 3] that give way to `carry_over`'s, as far as those are trusted."""
    rgb, trust = carried
    return trust[..., None] * rgb + (1.0 - trust[..., None]) * frames


def _vertices(model: FlameModel, params: FlameParams, offset: Array | None) -> Array:
    """Those [V, 3] of the head with what stands off it."""
    vertices, _ = forward(model, params)
    return vertices if offset is None else moved(vertices, jnp.asarray(model.faces), offset)


def _lids(model: FlameModel) -> Array:
    """1 at the vertices [V] of lids, 0 elsewhere and where nobody knows."""
    return jnp.asarray((model.masks or {}).get("eyelids", np.zeros(len(model.template))), jnp.float32)


def _still(model: FlameModel, params: FlameParams) -> Array:
    """Vertices [V, 3] of the head unturned, with its expression, jaw and eyes."""
    nothing = jnp.zeros_like(params.neck)
    return forward(model, params.replace(rotation=nothing, neck=nothing, translation=nothing))[0]


def _areas(vertices: Array, faces: Array) -> Array:
    """Twice the triangles' areas [F]."""
    return jnp.linalg.norm(face_normals(vertices, faces, unit=False), axis=-1)


def _around(image: Array, reach: int, border: float, chosen: Callable[[Array, Array], Array]) -> Array:
    """The extreme of an image [H, W] among all pixels up to `reach` away along each axis."""
    return jax.lax.reduce_window(image, border, chosen, (2 * reach + 1,) * 2, (1, 1), "SAME")


def _crisp(image: Array) -> Array:
    """An image [H, W, 3] whose finest detail is raised by about what a second averaging over pixels takes."""
    blurred = image
    for axis in (0, 1):
        near = jnp.pad(blurred, [(1, 1) if axis == k else (0, 0) for k in range(3)], mode="edge")
        parts = [jax.lax.slice_in_dim(near, k, k + image.shape[axis], axis=axis) for k in range(3)]
        blurred = 0.25 * parts[0] + 0.5 * parts[1] + 0.25 * parts[2]
    return image + _RAISED * (image - blurred)


def _mean(image: Array, reach: int) -> Array:
    """Means of an image [H, W] over the same; beside it are zeros."""
    side = 2 * reach + 1
    return jax.lax.reduce_window(image, 0.0, jax.lax.add, (side, side), (1, 1), "SAME") / side**2
