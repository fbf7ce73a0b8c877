"""What SymGEN's first renders look like: the texture prior's avatar, not fitted quite right."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from zero1a_jax import flame
from zero1a_jax.avatar import texture_prior
from zero1a_jax.avatar.colours import nearest_depth, sample_visible
from zero1a_jax.avatar.outside import moved
from zero1a_jax.geometry import project
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.types import Camera, FlameModel, FlameParams, Portrait

MISFIT = 0.3  # standard deviations of shape by which the draft's head is wrong
SHIFT = 0.002  # metres by which it stands wrong in the portrait


def draft(
    key: jax.Array,
    model: FlameModel,
    prior: Any,
    portrait: Portrait,
    params: FlameParams,
    camera: Camera,
) -> jax.Array:
    """The portrait's person from other views, without any diffusion.

    Args:
      key: draws the misfit.
      model: the embedded head. prior: weights of the texture prior.
      portrait: its true fit; the draft is made from a slightly wrong one.
      params, camera: [T] target views.

    Returns:
      rgb [T, H, W, 3] over white: a triangle has the portrait's colour where that shows it, else the texture
      prior's, and stands off as that says.
    """
    first, second = jax.random.split(key)
    wrong = MISFIT * jax.random.normal(first, portrait.flame.shape.shape)
    shift = SHIFT * jax.random.normal(second, (3,))
    fit = portrait.flame
    portrait = portrait.replace(
        flame=fit.replace(shape=fit.shape + wrong, translation=fit.translation + shift)
    )
    guess = texture_prior.guess(prior, model, portrait)
    faces = jnp.asarray(model.faces)
    vertices, _ = flame.forward(model, portrait.flame)
    own, trust = sample_visible(
        portrait,
        vertices,
        faces,
        vertices[faces].mean(1),
        jnp.arange(faces.shape[0]),
        nearest=nearest_depth(portrait.camera, vertices, faces),
    )
    colours = guess.rgb + trust[:, None] * (own - guess.rgb)

    def render(view: tuple[FlameParams, Camera]) -> jax.Array:
        params, camera = view
        posed, _ = flame.forward(model, params.replace(shape=params.shape + wrong))
        pixels, depth = project(camera, moved(posed, faces, guess.offset))
        face_id, _, _ = zbuffer(pixels, depth, faces, camera.height, camera.width)
        return jnp.where(face_id[..., None] < 0, 1.0, colours[jnp.maximum(face_id, 0)])

    return jax.lax.map(render, (params, camera))
