"""The portrait carried over to other views by the mesh: what it saw of the surface, it knows better.

A generated frame invents what the portrait does not show; where the portrait does show the surface, from not
too flat an angle, its own colours outrank the invention. [D]
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from zero1a_jax.avatar import nearest_depth, sample_visible
from zero1a_jax.flame import forward
from zero1a_jax.geometry import project, zbuffer
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams, Portrait


@struct.dataclass
class Seen:
    """What the portrait saw of the head's surface, made once a run."""

    portrait: Portrait
    vertices: Array  # [V, 3] of the head as the portrait shows it
    nearest: Array  # [H, W] depth of that head in the portrait


def seen_by(portrait: Portrait, model: FlameModel) -> Seen:
    """The surface as the fitted portrait shows it."""
    portrait = jax.tree.map(jnp.asarray, portrait)
    vertices, _ = forward(model, portrait.flame)
    return Seen(portrait, vertices, nearest_depth(portrait.camera, vertices, jnp.asarray(model.faces)))


def carry_over(seen: Seen, model: FlameModel, flame: FlameParams, camera: Camera) -> tuple[Array, Array]:
    """The portrait's colours on the head in other poses, from other views.

    Args:
      seen: of the portrait. model: its head.
      flame, camera: [T], the frames.

    Returns:
      rgb [T, H, W, 3] and trust [T, H, W] in 0..1: 0 beside the mesh, where the portrait did not see the
      surface, saw it from too flat an angle, or at the person's rim.
    """
    faces = jnp.asarray(model.faces)

    def frame(item: tuple[FlameParams, Camera]) -> tuple[Array, Array]:
        params, view = item
        vertices, _ = forward(model, params)
        pixels, depth = project(view, vertices)
        face_id, weights, _ = zbuffer(pixels, depth, faces, view.height, view.width)
        ids = jnp.maximum(face_id, 0).reshape(-1)
        points = jnp.sum(seen.vertices[faces[ids]] * weights.reshape(-1, 3, 1), 1)
        rgb, trust = sample_visible(seen.portrait, seen.vertices, faces, points, ids, nearest=seen.nearest)
        trust = jnp.where(face_id >= 0, trust.reshape(face_id.shape), 0.0)
        return rgb.reshape(*face_id.shape, 3), trust

    return jax.lax.map(frame, (flame, camera))


def outrank(frames: Array, carried: tuple[Array, Array]) -> Array:
    """Generated frames [T, H, W, 3] that give way to `carry_over`'s, as far as those are trusted."""
    rgb, trust = carried
    return trust[..., None] * rgb + (1.0 - trust[..., None]) * frames
