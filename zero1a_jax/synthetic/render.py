"""Synthetic people as anti-aliased textured meshes: the truth, independent of the Gaussian rasterizer."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from zero1a_jax.geometry.cameras import project, resize
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.image import srgb
from zero1a_jax.synthetic.figure import beard_field, dress, hair_field
from zero1a_jax.synthetic.identities import Look, identity
from zero1a_jax.synthetic.shade import Surface, shade
from zero1a_jax.synthetic.wardrobe import Wardrobe, wardrobe
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams


def _one(
    wear: Wardrobe, model: FlameModel, look: Look, params: FlameParams, camera: Camera, supersample: int
) -> tuple[Array, Array]:
    height, width = camera.height, camera.width
    fine = resize(camera, height * supersample, width * supersample)
    vertices, normals, canonical, thickness = dress(wear, model, look, params)
    pixels, depth = project(fine, vertices)
    # shell faces that lie wholly under the skin cost nothing: without area they are dropped
    faces = jnp.asarray(wear.faces)
    buried = jnp.all(thickness[faces] <= 0, -1)
    faces = jnp.where(buried[:, None], faces[:, :1], faces)
    face_id, weights, z = zbuffer(pixels, depth, faces, fine.height, fine.width)

    table = jnp.concatenate(
        [canonical, normals, thickness[:, None], fields(wear, model, look, len(vertices))], -1
    )  # [P, 12]
    face_id, weights = face_id.reshape(-1), weights.reshape(-1, 3)
    corners = faces[jnp.maximum(face_id, 0)]
    shares = [table[corners[:, k]] * weights[:, k, None] for k in range(3)]
    mixed = shares[0] + shares[1] + shares[2]

    x = jnp.tile(jnp.arange(fine.width) + 0.5, fine.height)
    y = jnp.repeat(jnp.arange(fine.height) + 0.5, fine.width)
    x, y = (x - fine.center[0]) / fine.focal[0], (y - fine.center[1]) / fine.focal[1]
    ray = jnp.stack([x, y, jnp.ones_like(x)], -1)
    view = -(ray @ fine.world_to_camera[:3, :3])
    surface = surface_of(mixed, view, jnp.asarray(wear.material)[jnp.maximum(face_id, 0)])
    cover = (face_id >= 0).astype(jnp.float32)
    colour = tone(shade(wear, look, surface)) * cover[:, None]
    shape = (height, supersample, width, supersample)
    alpha = cover.reshape(shape).mean((1, 3))
    rgb = colour.reshape(*shape, 3).mean((1, 3)) / jnp.maximum(alpha, 1e-6)[..., None]
    return srgb(jnp.clip(rgb, 0, 1)), alpha


def surface_of(rows: Array, view: Array, material: Array) -> Surface:
    """What the shader sees at P pixels: rows [P, 12] of template position, normal, thickness and `fields`,
    view [P, 3] to the camera, of any length, and material [P]."""
    normal = rows[:, 3:6] / jnp.sqrt(jnp.maximum((rows[:, 3:6] ** 2).sum(-1, keepdims=True), 1e-12))
    view = view / jnp.sqrt(jnp.maximum((view**2).sum(-1, keepdims=True), 1e-12))
    names = ("thickness", "occlusion", "lips", "hair", "beard", "rim")
    columns = dict(zip(names, rows[:, 6:].T, strict=True))
    return Surface(point=rows[:, :3], normal=normal, view=view, material=material, **columns)


def fields(wear: Wardrobe, model: FlameModel, look: Look, count: int) -> Array:
    """What the shader needs to know at the figure's vertices, [count, 5]; see Surface from `occlusion` on."""
    template = jnp.asarray(model.template)
    hair = hair_field(wear, look, template, wear.azimuth)
    beard = beard_field(wear, look, template, wear.azimuth)
    body = jnp.stack([wear.occlusion, wear.lips, hair, beard, wear.rim], -1)
    loose = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0])
    loose = jnp.broadcast_to(loose, (count - len(template) - len(wear.shell), 5))
    return jnp.concatenate([body, body[wear.shell], loose])


def tone(linear: Array) -> Array:
    """A film-like shoulder: linear below 0.6, never above 1."""
    knee = 0.6
    over = jnp.maximum(linear - knee, 0)
    return jnp.minimum(linear, knee) + (1 - knee) * over / (over + 1 - knee)


def render(
    model: FlameModel, look: Look, params: FlameParams, camera: Camera, *, supersample: int = 2
) -> tuple[Array, Array]:
    """Picture of a synthetic person: rgb [*B, H, W, 3] in 0..1 (sRGB) and alpha [*B, H, W].

    rgb is the straight colour (not multiplied by alpha, black where alpha is 0); there is no background.
    `look`, `params` and `camera` may carry leading axes *B each, which broadcast. Every pixel averages
    supersample^2 samples in linear light. `model` is the embedded head (flame.procedural_head): others lack
    the masks that the textures need, and raise ValueError. Jittable and vmappable.
    """
    if supersample < 1:
        raise ValueError(f"supersample must be at least 1, got {supersample}")
    wear = jax.tree.map(jnp.asarray, wardrobe(model))
    model = jax.tree.map(jnp.asarray, model)
    trees = (look, params, camera)
    lead = jnp.broadcast_shapes(
        *(
            leaf.shape[: leaf.ndim - core]
            for tree, ranks in zip(trees, _ranks(), strict=True)
            for leaf, core in zip(jax.tree.leaves(tree), ranks, strict=True)
        )
    )
    flat = []
    for tree, ranks in zip(trees, _ranks(), strict=True):
        leaves, structure = jax.tree.flatten(tree)
        leaves = [
            jnp.broadcast_to(leaf, (*lead, *leaf.shape[leaf.ndim - core :])).reshape(
                -1, *leaf.shape[leaf.ndim - core :]
            )
            for leaf, core in zip(leaves, ranks, strict=True)
        ]
        flat.append(jax.tree.unflatten(structure, leaves))

    def one(item: tuple[Look, FlameParams, Camera]) -> tuple[Array, Array]:
        return _one(wear, model, *item, supersample)

    # one picture at a time stays in a CPU's caches; a GPU wants them together
    many = jax.vmap(one) if jax.default_backend() != "cpu" else lambda items: jax.lax.map(one, items)
    rgb, alpha = many(tuple(flat))
    return rgb.reshape(*lead, *rgb.shape[1:]), alpha.reshape(*lead, *alpha.shape[1:])


@functools.cache
def _ranks() -> tuple[list[int], list[int], list[int]]:
    """Axes of every leaf of Look, FlameParams and Camera without leading ones."""
    look = jax.eval_shape(lambda: identity(jax.random.key(0))[1])
    return [leaf.ndim for leaf in jax.tree.leaves(look)], [1, 1, 1, 1, 1, 2, 1], [2, 1, 1]
