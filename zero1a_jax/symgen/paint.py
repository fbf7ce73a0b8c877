"""The texture prior's head as a textured mesh: crisper than Gaussians that nothing has fitted yet. [D]"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from zero1a_jax.avatar import at_vertices, bilinear, texture_prior
from zero1a_jax.flame import forward
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
    places, faces = finer * jnp.asarray(at.corners), jnp.asarray(model.faces)
    corners = at_vertices(guess.rgb, faces, len(model.template))

    def frame(item: tuple[Array, Array, FlameParams, Camera]) -> Painted:
        behind, alpha, params, view = item
        head = surface(seen, model, params, view)
        place = jnp.sum(places[uv_faces[head.ids]] * head.weights[..., None], 1)
        rgb = bilinear(guess.texture, place)
        # Other islands of the texture are too small for their own triangles.
        smooth = jnp.sum(corners[faces[head.ids]] * head.weights[..., None], 1)
        rgb = jnp.where(jnp.asarray(at.large)[head.ids, None], rgb, smooth)
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
