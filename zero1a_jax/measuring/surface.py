"""The colours of a head's surface in pictures, face by face: what moves with the mesh stays in place."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.flame import forward
from zero1a_jax.geometry import face_normals, project, zbuffer
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

GRAZING = 0.35  # cosine to the line of sight from which a face counts as seen
BEHIND = 0.004  # metres by which a face may lie behind the nearest surface and still count


@jax.jit
def colours(model: FlameModel, flame: FlameParams, camera: Camera, image: Array) -> tuple[Array, Array]:
    """What a picture shows at the middle of each face of the mesh, and which of them it sees.

    Args:
      flame, camera: of the picture, without leading axes. image: [H, W, 3].

    Returns:
      [F, 3], bilinear; [F] bool.
    """
    vertices, _ = forward(model, flame)
    faces = jnp.asarray(model.faces)
    height, width = camera.height, camera.width
    pixels, depth = project(camera, vertices)
    ids, _, nearest = zbuffer(pixels, depth, faces, height, width)
    middle = vertices[faces].mean(1)
    places, distance = project(camera, middle)
    position = -camera.world_to_camera[:3, :3].T @ camera.world_to_camera[:3, 3]
    sight = position - middle
    facing = jnp.sum(face_normals(vertices, faces) * sight, -1) / jnp.linalg.norm(sight, axis=-1)
    # The four pixels around the middle must all show the head, or a silhouette's edge would be mixed in.
    low = jnp.floor(places - 0.5).astype(jnp.int32)
    x, y = low[:, 0], low[:, 1]
    inside = (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
    x, y = jnp.clip(x, 0, width - 2), jnp.clip(y, 0, height - 2)
    covered = jnp.all(jnp.stack([ids[y + j, x + i] >= 0 for j in (0, 1) for i in (0, 1)]), 0)
    surface = jnp.stack([nearest[y + j, x + i] for j in (0, 1) for i in (0, 1)]).max(0)
    part = (places - 0.5 - low)[:, :, None]
    upper, lower = (image[y + j, x] * (1 - part[:, 0]) + image[y + j, x + 1] * part[:, 0] for j in (0, 1))
    found = upper * (1 - part[:, 1]) + lower * part[:, 1]
    seen = inside & covered & (facing > GRAZING) & (distance < surface + BEHIND) & (distance > 0)
    return found, seen


def spread(found: np.ndarray, seen: np.ndarray) -> float:
    """Root mean square of how far a face's colours lie from their mean over the pictures that see it.

    found: [K, F, 3]. seen: [K, F]. Faces count that two pictures see; nan where there are none.
    """
    counts = seen.sum(0)
    both = counts >= 2
    weight = (seen & both)[..., None]
    mean = np.sum(found * weight, 0) / np.maximum(counts, 1)[:, None]
    off = (found - mean)[seen & both]
    return float(np.sqrt(np.mean(np.square(off, dtype=np.float64)))) if len(off) else float("nan")


def unrest(found: np.ndarray, seen: np.ndarray) -> float:
    """Root mean square of what a face's colour differs from the mean of the pictures before and after.

    found: [T, F, 3], of pictures in order of time. seen: [T, F]. Faces count that all three pictures see; nan
    where there are none.
    """
    off = found[1:-1] - 0.5 * (found[:-2] + found[2:])
    chosen = seen[1:-1] & seen[:-2] & seen[2:]
    return float(np.sqrt(np.mean(np.square(off[chosen], dtype=np.float64)))) if chosen.any() else float("nan")
