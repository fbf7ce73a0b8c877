"""Projected normalised coordinate code: the mesh drawn with its template's coordinates as colours.

Source: Zhu et al., "Face Alignment Across Large Poses: A 3D Solution" (CVPR 2016), section 3.2.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.geometry.cameras import project
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.types import Array, Camera, FlameModel


def pncc(model: FlameModel, vertices: Array, camera: Camera) -> Array:
    """Dense condition image [*B, H, W, 3] in 0..1 of posed vertices [*B, V, 3]; black off the mesh.

    A pixel's colour is the template position of the surface point it shows, scaled so that the template's
    bounding box fills 0..1: the same colour is the same place on every head, in every pose. Camera and
    vertices broadcast over their leading axes. Visibility has no gradient.
    """
    template, faces = jnp.asarray(model.template), jnp.asarray(model.faces)
    low, high = template.min(0), template.max(0)
    colour = (template - low) / (high - low)

    def one(vertices: Array, camera: Camera) -> Array:
        pixels, depth = project(camera, vertices)
        face_id, barycentrics, _ = zbuffer(pixels, depth, faces, camera.height, camera.width)
        corners = colour[faces[jnp.maximum(face_id, 0)]]  # [H, W, 3 corners, 3]
        return jnp.where(face_id[..., None] < 0, 0, (corners * barycentrics[..., None]).sum(-2))

    lead = jnp.broadcast_shapes(vertices.shape[:-2], camera.focal.shape[:-1])
    vertices = jnp.broadcast_to(vertices, (*lead, *vertices.shape[-2:]))
    camera = camera.replace(
        world_to_camera=jnp.broadcast_to(camera.world_to_camera, (*lead, 4, 4)),
        focal=jnp.broadcast_to(camera.focal, (*lead, 2)),
        center=jnp.broadcast_to(camera.center, (*lead, 2)),
    )
    for _ in lead:
        one = jax.vmap(one)
    return one(vertices, camera)
