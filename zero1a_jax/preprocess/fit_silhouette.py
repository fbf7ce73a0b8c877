"""Where the head's outer rim lies on screen, and where the person's edge is beside it.

The rim of the mesh is followed outward and inward along its normal to the matte's edge, as in trackers of
known shapes (Harris and Stennett, RAPID, 1990). Hair and clothes hide the edge of the bald head, so that the
rim may lie inside the person at little cost, while outside of the person it may not lie.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from zero1a_jax.types import Array, FlameModel

COUNT = 256  # rim vertices that are used at most
REACH = 0.06  # of the picture's side: how far the edge is looked for
STEPS = 33
BESIDE = (0.008, 0.02)  # of the side: where nothing of the head may lie beyond its outer rim
# The weight of an edge outside of the rim. Long hair hangs beside cheeks and ears as it covers the scalp;
# believed like an edge inside, it spoiled the whole head.
OUTSIDE = 0.04


class Rim(NamedTuple):
    """Rim vertices and their edges; unused rows have weight 0."""

    vertices: Array  # [COUNT] int32
    normals: Array  # [COUNT, 2] unit, outward on screen
    edges: Array  # [COUNT, 2] pixels, the person's edge
    weights: Array  # [COUNT]
    away: Array  # [COUNT] pixels from the rim to the edge, positive outward

    def gap(self) -> Array:
        """The weighted mean distance of the edges [] in pixels; NaN where there is none."""
        return jnp.sum(jnp.abs(self.away) * self.weights) / jnp.sum(self.weights)


def rim_weights(model: FlameModel) -> np.ndarray:
    """How much an edge outside of each vertex [V] says of it; 0 where a rim says nothing at all.

    Neck and shoulders follow a posture that is not fitted. Without masks all but the lowest part counts.
    """
    masks = {name: np.asarray(mask) for name, mask in (model.masks or {}).items()}
    count = len(model.template)
    if "face" not in masks or "scalp" not in masks:
        chin = np.asarray(model.template)[np.asarray(model.faces)[np.asarray(model.contour_faces)[0, 8]], 1]
        return np.where(np.asarray(model.template)[:, 1] > chin.min(), OUTSIDE, 0.0)
    weights = np.zeros(count)
    for name in ("scalp", "face", "left_ear", "right_ear"):
        weights[masks.get(name, np.zeros(count, bool))] = OUTSIDE
    for name in ("neck", "boundary", "mouth_interior", "left_eyeball", "right_eyeball", "eyelids"):
        weights[masks.get(name, np.zeros(count, bool))] = 0.0
    return weights


def find_rim(
    pixels: Array, normals: Array, faces: Array, face_id: Array, alpha: Array, weights: Array
) -> Rim:
    """The rim of a posed head with the person's edge beside it.

    Args:
      pixels: [V, 2] of the vertices.
      normals: [V, 3] in the camera's axes.
      faces: [F, 3].
      face_id: [H, W] the head's triangle at each pixel, -1 where none.
      alpha: [H, W] the person's matte; NaN where the picture says nothing.
      weights: [V] of `rim_weights`.
    """
    side = alpha.shape[1]
    corner = pixels[faces]
    first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    front = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0).astype(jnp.float32)
    sides = jnp.zeros((len(pixels), 2))
    for k in range(3):
        sides = sides.at[faces[:, k]].add(jnp.stack([front, 1.0 - front], -1))
    flat = normals[:, :2] / jnp.maximum(jnp.linalg.norm(normals[:, :2], axis=-1, keepdims=True), 1e-6)
    outer = (sides > 0).all(-1) & (weights > 0)
    covered = (face_id >= 0).astype(jnp.float32)
    for step in BESIDE:
        outer &= sample(covered, pixels + flat * step * side) < 0.25
    vertices = jnp.nonzero(outer, size=COUNT, fill_value=len(pixels))[0]
    used, vertices = vertices < len(pixels), jnp.minimum(vertices, len(pixels) - 1)

    away = jnp.linspace(-REACH * side, REACH * side, STEPS)
    start, normal = pixels[vertices], flat[vertices]
    line = start[:, None] + away[:, None] * normal[:, None]  # [COUNT, STEPS, 2]
    person = sample(alpha, line.reshape(-1, 2)).reshape(line.shape[:2])
    low, high = person[:, 1:], person[:, :-1]
    leaves = (high >= 0.5) & (low < 0.5)  # false where either is NaN
    part = (high - 0.5) / jnp.maximum(high - low, 1e-6)
    place = away[:-1] + part * (away[1] - away[0])
    gap = jnp.where(leaves, jnp.abs(place), jnp.inf)
    best = jnp.argmin(gap, -1)[:, None]
    found = jnp.take_along_axis(leaves, best, -1)[:, 0]
    place = jnp.take_along_axis(place, best, -1)[:, 0]
    trust = jnp.where(place > 0, weights[vertices], 1.0)
    return Rim(vertices, normal, start + place[:, None] * normal, trust * (used & found), place)


def sample(image: Array, places: Array) -> Array:
    """Values [P] or [P, C] of an image [H, W] or [H, W, C] at pixels [P, 2], bilinear; the border repeats."""
    flat = image if image.ndim == 3 else image[..., None]
    height, width, _ = flat.shape
    x = jnp.clip(places[:, 0] - 0.5, 0.0, width - 1.001)
    y = jnp.clip(places[:, 1] - 0.5, 0.0, height - 1.001)
    left, top = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    rows = flat.reshape(-1, flat.shape[-1])
    at = top * width + left
    above = rows[at] * (1.0 - fx) + rows[at + 1] * fx
    below = rows[at + width] * (1.0 - fx) + rows[at + width + 1] * fx
    values = above * (1.0 - fy) + below * fy
    return values if image.ndim == 3 else values[:, 0]
