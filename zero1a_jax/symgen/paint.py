"""The texture prior's head as a textured mesh: crisper than Gaussians that nothing has fitted yet. [D]"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from zero1a_jax.avatar import at_vertices, bilinear, texture_prior
from zero1a_jax.flame import forward
from zero1a_jax.geometry import at_points
from zero1a_jax.symgen.carry import Seen, carried, in_pixels, shrunk, surface
from zero1a_jax.symgen.detail import lashes
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams


class Painted(NamedTuple):
    """Frames of the textured mesh, [T, H, W]."""

    rgb: Array  # over the background of the frames that it was painted over
    alpha: Array
    carried: tuple[Array, Array]  # what `carry_over` gives, rgb and trust: it is made on the way


def paint_over(
    frames: tuple[Array, Array],
    guess: texture_prior.Guess,
    seen: Seen,
    model: FlameModel,
    flame: FlameParams,
    camera: Camera,
) -> Painted:
    """Frames of what stands beside the mesh, such as loose hair, with the textured mesh before it.

    Args:
      frames: rgb [T, H, W, 3] over any background, and alpha [T, H, W].
      guess: what the texture prior says. seen: what the portrait saw, which outranks it. model: the head.
      flame, camera: [T].
    """
    uv_faces, at = jnp.asarray(model.uv_faces), texture_prior.texels()
    finer = guess.texture.shape[0] / texture_prior.SIZE
    faces = jnp.asarray(model.faces)
    # Places in the texture, and colours for islands of it that are too small for their own triangles.
    places = finer * jnp.asarray(at.corners)[uv_faces]
    corners = jnp.concatenate([places, at_vertices(guess.rgb, faces, len(model.template))[faces]], -1)

    def frame(item: tuple[Array, Array, FlameParams, Camera]) -> Painted:
        behind, alpha, params, view = item
        head = surface(seen, model, params, view)
        here = at_points(corners, head.ids, head.weights)
        rgb = bilinear(guess.texture, here[:, :2])
        rgb = jnp.where(jnp.asarray(at.large)[head.ids, None], rgb, here[:, 2:])
        rgb = rgb * lashes(forward(model, params)[0], faces, head.ids, head.weights)[:, None]
        own, trust = carried(seen, model, head)
        rgb = rgb + trust[:, None] * (own - rgb)
        cover = shrunk(head.cover, view)
        painted = shrunk(rgb * head.cover[:, None], view)
        return Painted(
            rgb=painted + (1 - cover[..., None]) * behind,
            alpha=jnp.maximum(cover, alpha),
            carried=in_pixels(own, trust, head, view),
        )

    return jax.lax.map(frame, (*frames, flame, camera))
