"""What SymGEN's first renders look like: the portrait's colours on a mesh that was not fitted quite right."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax import flame
from zero1a_jax.avatar.colours import mirror_faces, nearest_depth, sample_visible
from zero1a_jax.geometry import project
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.types import Camera, FlameModel, FlameParams, Portrait

MISFIT = 0.3  # standard deviations of shape by which the draft's head is wrong
SHIFT = 0.002  # metres by which it stands wrong in the portrait
__all__ = ["draft", "mirror_faces"]


def draft(
    key: jax.Array,
    model: FlameModel,
    portrait: Portrait,
    params: FlameParams,
    camera: Camera,
    partner: jax.Array,
) -> jax.Array:
    """The portrait's person from other views, without any diffusion.

    Args:
      key: draws the misfit.
      portrait: its true fit; the draft is made from a slightly wrong one.
      params, camera: [T] target views.
      partner: [F], `mirror_faces(model)`: made once, since it is the slow part.

    Returns:
      rgb [T, H, W, 3] over white. Hidden triangles take the mirrored one's colour, else the mean; what is
      not on the mesh, such as long hair, is missing.
    """
    first, second = jax.random.split(key)
    wrong = MISFIT * jax.random.normal(first, portrait.flame.shape.shape)
    vertices, _ = flame.forward(model, portrait.flame.replace(shape=portrait.flame.shape + wrong))
    vertices = vertices + SHIFT * jax.random.normal(second, (3,))
    faces = jnp.asarray(model.faces)
    nearest = nearest_depth(portrait.camera, vertices, faces)
    own, trust = sample_visible(
        portrait, vertices, faces, vertices[faces].mean(1), jnp.arange(faces.shape[0]), nearest=nearest
    )
    own, trust = own[..., :3], trust[:, None]
    mean = (own * trust).sum(0) / jnp.maximum(trust.sum(), 1e-6)
    borrowed = (1 - trust) * trust[partner]
    colours = trust * own + borrowed * own[partner] + (1 - trust - borrowed) * mean

    def render(view: tuple[FlameParams, Camera]) -> jax.Array:
        params, camera = view
        posed, _ = flame.forward(model, params.replace(shape=params.shape + wrong))
        pixels, depth = project(camera, posed)
        face_id, _, _ = zbuffer(pixels, depth, faces, camera.height, camera.width)
        return jnp.where(face_id[..., None] < 0, 1.0, colours[jnp.maximum(face_id, 0)])

    return jax.lax.map(render, (params, camera))
