"""The texture prior's head as a textured mesh: crisper than Gaussians that nothing has fitted yet. [D]"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.avatar import at_vertices, bilinear, texture_prior
from zero1a_jax.symgen.carry import Seen, carried, shrunk, surface
from zero1a_jax.symgen.detail import lashes
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams


def paint_over(
    frames: tuple[Array, Array],
    guess: texture_prior.Guess,
    seen: Seen,
    model: FlameModel,
    flame: FlameParams,
    camera: Camera,
) -> tuple[Array, Array]:
    """Frames of what stands beside the mesh, such as loose hair, with the textured mesh before it.

    Args:
      frames: rgb [T, H, W, 3] over any background, and alpha [T, H, W].
      guess: what the texture prior says. seen: what the portrait saw, which outranks it. model: the head.
      flame, camera: [T].

    Returns:
      rgb [T, H, W, 3] over that background, and alpha [T, H, W].
    """
    uv_faces, at = jnp.asarray(model.uv_faces), texture_prior.texels()
    finer = guess.texture.shape[0] / texture_prior.SIZE
    places, faces = finer * jnp.asarray(at.corners), jnp.asarray(model.faces)
    corners = at_vertices(guess.rgb, faces, len(model.template))

    def frame(item: tuple[Array, Array, FlameParams, Camera]) -> tuple[Array, Array]:
        behind, alpha, params, view = item
        head = surface(seen, model, params, view)
        place = jnp.sum(places[uv_faces[head.ids]] * head.weights[..., None], 1)
        rgb = bilinear(guess.texture, place)
        # Other islands of the texture are too small for their own triangles.
        smooth = jnp.sum(corners[faces[head.ids]] * head.weights[..., None], 1)
        rgb = jnp.where(jnp.asarray(at.large)[head.ids, None], rgb, smooth)
        rgb = rgb * jnp.sum(jnp.asarray(lashes())[faces[head.ids]] * head.weights[..., None], 1)
        own, trust = carried(seen, model, head)
        rgb = rgb + trust[:, None] * (own - rgb)
        cover = shrunk(head.cover, view)
        painted = shrunk(rgb * head.cover[:, None], view)
        return painted + (1 - cover[..., None]) * behind, jnp.maximum(cover, alpha)

    return jax.lax.map(frame, (*frames, flame, camera))
