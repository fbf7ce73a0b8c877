"""The texture prior's head as a textured mesh: crisper than Gaussians that nothing has fitted yet. [D]"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.avatar import moved, sample_visible, texture_prior
from zero1a_jax.flame import forward
from zero1a_jax.geometry import project, resize, zbuffer
from zero1a_jax.symgen.carry import Seen
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

SUPERSAMPLE = 2


def paint_over(
    frames: tuple[Array, Array],
    guess: texture_prior.Guess,
    seen: Seen,
    model: FlameModel,
    flame: FlameParams,
    camera: Camera,
) -> tuple[Array, Array]:
    """The first avatar's frames with the textured mesh before them; what stands beside the mesh stays.

    Args:
      frames: rgb [T, H, W, 3] over any background, and alpha [T, H, W].
      guess: what the texture prior says. seen: what the portrait saw, which outranks it. model: the head.
      flame, camera: [T].

    Returns:
      rgb [T, H, W, 3] over that background, and alpha [T, H, W].
    """
    faces, uv_faces = jnp.asarray(model.faces), jnp.asarray(model.uv_faces)
    at = texture_prior.texels()
    places = jnp.asarray(at.corners)

    def frame(item: tuple[Array, Array, FlameParams, Camera]) -> tuple[Array, Array]:
        behind, alpha, params, view = item
        height, width = alpha.shape
        fine = resize(view, height * SUPERSAMPLE, width * SUPERSAMPLE)
        vertices, _ = forward(model, params)
        pixels, depth = project(fine, moved(vertices, faces, guess.offset))
        face_id, weights, _ = zbuffer(pixels, depth, faces, fine.height, fine.width)
        ids, weights = jnp.maximum(face_id, 0).reshape(-1), weights.reshape(-1, 3, 1)
        place = jnp.sum(places[uv_faces[ids]] * weights, 1)
        rgb = texture_prior.bilinear(guess.texture, place)
        # Other islands of the texture are too small for their own triangles.
        rgb = jnp.where(jnp.asarray(at.large)[ids, None], rgb, guess.rgb[ids])
        points = jnp.sum(seen.vertices[faces[ids]] * weights, 1)
        own, trust = sample_visible(seen.portrait, seen.vertices, faces, points, ids, nearest=seen.nearest)
        rgb = rgb + trust[:, None] * (own - rgb)
        cover = (face_id >= 0).astype(jnp.float32)
        shape = (height, SUPERSAMPLE, width, SUPERSAMPLE)
        painted = (rgb * cover.reshape(-1, 1)).reshape(*shape, 3).mean((1, 3))
        cover = cover.reshape(shape).mean((1, 3))
        return painted + (1 - cover[..., None]) * behind, jnp.maximum(cover, alpha)

    return jax.lax.map(frame, (*frames, flame, camera))
