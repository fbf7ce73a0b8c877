"""An avatar's colours as a texture of its head: renders from all around, laid onto the mesh.

Where a view shows a point of the surface (a z-buffer of the mesh tells) its pixel counts by how squarely
the camera looks at it. Poses that open the mouth, close or turn the eyes fill in what the face at rest
hides; what no view shows has the colour of its triangle's Gaussians.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from zero1a_jax.flame import forward, frame_target, zero_params
from zero1a_jax.geometry import project
from zero1a_jax.geometry.cameras import position
from zero1a_jax.geometry.meshes import face_normals
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.image.colour import SH_BASIS_0, as_uint8
from zero1a_jax.showing import playback, poses
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

SIZE = 1024  # pixels a side
_VIEW = 512  # pixels a side of the renders
_SLACK = 2e-3  # metres that a point may lie behind the surface that the z-buffer saw
_STEP = 1e-2  # metres between a point and what lies in front of it a pixel away
_SQUARE = 4.0  # power of the cosine between line of sight and normal
_HIDDEN = 0.02  # weight of the other poses against the face at rest
_GUESS = 1e-3  # and of the triangles' own colours
_REST = ((0, 0), (30, 0), (-30, 0), (60, 0), (-60, 0), (90, 0), (-90, 0), (130, 0), (-130, 0), (180, 0))
_ABOVE = ((0, 40), (90, 40), (-90, 40), (180, 40), (0, 80), (0, -30), (40, -30), (-40, -30), (180, -30))
_MOUTH = ((0, 0), (0, 20), (0, -25), (30, 0), (-30, 0))


class _Texels(NamedTuple):
    """The P texels that lie on the mesh."""

    index: np.ndarray  # [P] into the texture, row by row
    face: np.ndarray  # [P]
    weights: np.ndarray  # [P, 3] of the face's corners


def bake(
    loaded: Loaded, size: int = SIZE, *, report: Callable[[int, int], None] = lambda done, total: None
) -> np.ndarray:
    """The texture, uint8 [size, size, 3] with v running up from the last row, for the model's own uv.

    `report` is told (done, all) of the views it is made of.
    """
    model, faces = loaded.model, np.asarray(loaded.model.faces)
    texels = _texels(model, size)
    cameras, flame, priority = _shots(loaded)
    shown = playback.render(loaded.avatar, model, flame, cameras, background=np.ones(3, np.float32))
    place = jax.jit(lambda params: forward(model, params.replace(shape=loaded.avatar.shape))[0])
    depths = jax.jit(lambda vertices, camera: zbuffer(*project(camera, vertices), faces, _VIEW, _VIEW)[2])
    guess = _triangle_colours(loaded)[texels.face]
    total, colours = np.full((len(guess), 1), _GUESS * _HIDDEN), _GUESS * _HIDDEN * guess
    for view, (rgb, alpha) in enumerate(shown):
        camera, params = jax.tree.map(lambda x, i=view: x[i], (cameras, flame))
        vertices = place(params)
        which, weight, pixels = _seen(
            texels, np.asarray(vertices), faces, camera, np.asarray(depths(vertices, camera))
        )
        found = _sampled(np.concatenate([rgb, alpha[..., None]], -1), pixels)
        weight = priority[view] * weight[:, None] * (found[:, 3:] > 0.9)
        total[which] += weight
        colours[which] += weight * found[:, :3]
        report(view + 1, len(priority))
    image = np.zeros((size * size, 3), np.float32)
    known = np.zeros(size * size, bool)
    image[texels.index], known[texels.index] = colours / total, True
    return as_uint8(_spread(image.reshape(size, size, 3), known.reshape(size, size)))


def _shots(loaded: Loaded) -> tuple[Camera, FlameParams, np.ndarray]:
    """Cameras and parameters [K] of the views and their weights [K]."""
    model = loaded.model
    names = [name for name, _, _ in poses.SHOWN]
    opened, closed = (poses.expression(model, names.index(n), loaded.arkit) for n in ("mouth open", "blink"))
    rest = zero_params(model)
    wide = opened.replace(jaw=opened.jaw + jnp.array([0.15, 0.0, 0.0]))
    shots = [(view, rest, 1.0) for view in (*_REST, *_ABOVE)] + [(view, wide, _HIDDEN) for view in _MOUTH]
    shots += [(view, closed, _HIDDEN) for view in ((0, 0), (30, 0), (-30, 0))]
    for turn in ((0.0, 0.5, 0.0), (0.0, -0.5, 0.0), (0.3, 0.0, 0.0), (-0.3, 0.0, 0.0)):
        gaze = jnp.broadcast_to(jnp.array(turn), (2, 3))
        shots.append(((0, 0), rest.replace(eyes=gaze), _HIDDEN))
    views, flame, priority = zip(*shots, strict=True)
    yaw, pitch = np.array(views, np.float32).T
    target = frame_target(model, loaded.avatar.shape)
    flame = jax.tree.map(lambda *leaves: jnp.stack(leaves), *flame)
    cameras, flame = poses.shots(model, target, _VIEW, yaw, pitch, flame)
    return cameras, flame, np.array(priority)


def _texels(model: FlameModel, size: int) -> _Texels:
    """Which triangle each texel lies on; where some overlap (behind the eyeballs) the smallest."""
    uv = np.asarray(model.uv)[np.asarray(model.uv_faces)]
    along, across = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    mirrored = area < 0
    uv = np.where(mirrored[:, None, None], uv[:, ::-1], uv)  # a z-buffer shows one side
    depth = 1 + np.argsort(np.argsort(np.abs(area))) / len(area)
    pixels = (uv * [1, -1] + [0, 1]).reshape(-1, 2) * size
    face, weights, _ = jax.jit(zbuffer, static_argnums=(3, 4))(
        pixels.astype(np.float32),
        np.repeat(depth, 3).astype(np.float32),
        np.arange(len(pixels), dtype=np.int32).reshape(-1, 3),
        size,
        size,
    )
    face, weights = np.asarray(face).reshape(-1), np.asarray(weights).reshape(-1, 3)
    index = np.flatnonzero(face >= 0)
    face, weights = face[index], weights[index]
    return _Texels(index, face, np.where(mirrored[face][:, None], weights[:, ::-1], weights))


def _seen(
    texels: _Texels, vertices: np.ndarray, faces: np.ndarray, camera: Camera, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which texels [S] a view shows, how squarely [S], and the pixels [S, 2] that show them."""
    eye = np.asarray(position(camera))
    towards = np.sum((eye - vertices[faces[:, 0]]) * np.asarray(face_normals(vertices, faces)), -1) > 0
    which = np.flatnonzero(towards[texels.face])
    face = texels.face[which]
    points = np.einsum("pk,pkc->pc", texels.weights[which], vertices[faces[face]])
    pixels, far = (np.asarray(x) for x in project(camera, points))
    away = eye - points
    cosine = np.sum(away * np.asarray(face_normals(vertices, faces))[face], -1) / np.linalg.norm(
        away, axis=-1
    )
    limit = np.array(depth.shape[::-1]) - 1
    column, row = np.clip(pixels.astype(int), 0, limit).T
    # Pixels around count too: beside an edge in front a render mixes its colours into those behind it.
    nearest = ndimage.minimum_filter(depth, 3)[row, column]
    seen = ((pixels > 1) & (pixels < limit)).all(-1) & (cosine > 0)
    seen &= (far < depth[row, column] + _SLACK) & (far < nearest + _STEP)
    return which[seen], cosine[seen] ** _SQUARE, pixels[seen]


def _sampled(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """An image [H, W, C] at pixels [P, 2], bilinear: [P, C]."""
    at = [pixels[:, 1] - 0.5, pixels[:, 0] - 0.5]
    channels = [
        ndimage.map_coordinates(image[..., c], at, order=1, mode="nearest") for c in range(image.shape[-1])
    ]
    return np.stack(channels, -1)


def _triangle_colours(loaded: Loaded) -> np.ndarray:
    """The mean colour [F, 3] of each triangle's Gaussians by opacity; grey where it has none."""
    avatar, count = loaded.avatar, len(np.asarray(loaded.model.faces))
    alive = np.asarray(avatar.alive, bool)
    ids = np.asarray(avatar.face_ids)[alive]
    weight = 1 / (1 + np.exp(-np.asarray(avatar.gaussians.opacity_logits, np.float64)[alive]))
    colour = np.clip(np.asarray(avatar.gaussians.sh)[alive, 0] * SH_BASIS_0 + 0.5, 0, 1)
    total = np.bincount(ids, weight, count)
    sums = np.stack([np.bincount(ids, weight * colour[:, c], count) for c in range(3)], -1)
    return np.where(total[:, None] > 0, sums / np.maximum(total, 1e-9)[:, None], 0.5)


def _spread(image: Array, known: np.ndarray) -> np.ndarray:
    """The image with its unknown pixels as the nearest known one, so that no seam shows when it is scaled."""
    nearest = np.asarray(ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True))
    return np.asarray(image)[nearest[0], nearest[1]]
