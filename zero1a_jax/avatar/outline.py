"""Hair and clothes moved until the head's outline is the portrait's. [D]

The texture prior says how far they stand off the head; the portrait's own matte says it exactly, along its
outline. What is found there is carried on to hair and clothes near by, which other views show.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from zero1a_jax.avatar.colours import bilinear, part_ids, smoothstep
from zero1a_jax.avatar.outside import at_vertices, moved
from zero1a_jax.flame.model import forward
from zero1a_jax.geometry.cameras import project, resize
from zero1a_jax.geometry.meshes import vertex_normals
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.types import Array, FlameModel, Portrait

CLOTHES = -0.135  # metres above the head's origin, under which people wear clothes
_ROUNDS = 2
_REACH, _STEPS = 0.03, 61  # metres to both sides of the outline that are looked at, and points there
_FINE = 4  # the mesh's own outline is looked at in pixels so many times smaller
_ACROSS = (0.80, 0.97)  # sine to the viewer between which a vertex comes to lie on the outline
_CLEAR = 0.1  # cover up to which a point is outside, and from whose complement it is inside
_NEAR = 0.004  # metres from the mesh's own outline within which a vertex lies on it
_SPREAD = 0.04  # metres over which what is found is carried on
_DOUBT = 0.3  # weight, in vertices of the outline, of leaving all as it is
_HAIR = (0.001, 0.004)  # metres off the head between which it is hair
_MORE = 0.0015  # metres that hair stands off more: where it falls short the background shows


class _Gap(NamedTuple):
    """At each vertex, [V]."""

    metres: Array  # from the mesh's outline out to the portrait's
    weight: Array  # 0..1: how far the vertex lies on an outline that both have


def fit_outline(offset: Array, model: FlameModel, portrait: Portrait) -> Array:
    """How far triangles stand off, so that the portrait's matte is met.

    Args:
      offset: [F, 3] metres in the triangles' frames, as the texture prior says.
      model: the head. portrait: with its fitted head, camera and matte.

    Returns:
      [F, 3] the same, moved along the triangles' normals. Bare skin stays.
    """
    template, faces = jnp.asarray(model.template), jnp.asarray(model.faces)
    squares = jnp.sum(template**2, 1)
    apart = squares[:, None] + squares - 2.0 * jnp.matmul(template, template.T, precision="highest")
    near = jnp.exp(-0.5 * apart / _SPREAD**2)
    hair, clothes = _materials(offset, model)

    def closer(number: Array, offset: Array) -> Array:
        gap = _gap(offset, model, portrait)
        more = _MORE * (number == _ROUNDS - 1)
        move = jnp.zeros(len(template))
        for member, metres in ((hair, gap.metres + more), (clothes, gap.metres)):
            weight = gap.weight * member
            sums = near @ jnp.stack([weight * metres, weight], -1)
            move = move + member * sums[:, 0] / (sums[:, 1] + _DOUBT)
        return offset.at[:, 1].add(jnp.mean(move[faces], 1))

    return jax.lax.fori_loop(0, _ROUNDS, closer, offset)


def _materials(offset: Array, model: FlameModel) -> tuple[Array, Array]:
    """Which vertices are hair and which clothes, [V] each in 0..1."""
    faces, count = jnp.asarray(model.faces), len(model.template)
    values = jnp.concatenate([offset, (part_ids(model) > 0)[:, None]], -1)
    values = at_vertices(values, faces, count)
    clothes = jnp.asarray(model.template)[:, 1] < CLOTHES
    off = jnp.linalg.norm(values[:, :3], axis=-1)
    return smoothstep(off, *_HAIR) * ~clothes * (1.0 - values[:, 3]), clothes.astype(jnp.float32)


def _gap(offset: Array, model: FlameModel, portrait: Portrait) -> _Gap:
    """Between the outlines of the mesh and of the portrait's matte, along the vertices' normals."""
    camera, faces = portrait.camera, jnp.asarray(model.faces)
    vertices = moved(forward(model, portrait.flame)[0], faces, offset)
    pixels, depth = project(camera, vertices)
    tip, _ = project(camera, vertices + 1e-3 * vertex_normals(vertices, faces))
    normal = 1e3 * (tip - pixels)  # pixels a metre
    length = jnp.maximum(jnp.linalg.norm(normal, axis=-1), 1e-6)
    across = smoothstep(length * depth / camera.focal[0], *_ACROSS)

    fine = resize(camera, _FINE * camera.height, _FINE * camera.width)
    face_id, _, _ = zbuffer(*project(fine, vertices), faces, fine.height, fine.width)
    steps = jnp.linspace(-_REACH, _REACH, _STEPS)
    outward = normal / length[:, None] * (camera.focal[0] / depth)[:, None]  # a metre along the picture
    points = pixels[:, None] + outward[:, None] * steps[:, None]
    mesh = _along((face_id >= 0).astype(jnp.float32), _FINE * points)
    matte = _along(portrait.alpha, points)
    size = jnp.array([camera.width, camera.height])
    shown = jnp.all((points >= 0) & (points <= size), (1, 2))
    crossed = jnp.minimum(mesh, matte)[:, 0] > 1.0 - _CLEAR
    crossed &= jnp.maximum(mesh, matte)[:, -1] < _CLEAR
    step = 2.0 * _REACH / (_STEPS - 1)
    own = jnp.abs(step * jnp.sum(mesh, 1) - _REACH) < _NEAR
    return _Gap(step * jnp.sum(matte - mesh, 1), across * (shown & crossed & own))


def _along(image: Array, points: Array) -> Array:
    """Values of an image [H, W] at points [V, P, 2]; [V, P]."""
    return bilinear(image[..., None], points.reshape(-1, 2))[:, 0].reshape(points.shape[:2])
