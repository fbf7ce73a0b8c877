"""First Gaussians for what the portrait shows beside the mesh: hair that stands off, a collar, a hat.

Gaussians of the surface are many steps away from there, and would only grow into a haze.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.flame.model import forward
from zero1a_jax.geometry.cameras import project
from zero1a_jax.geometry.meshes import triangle_frames
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.image.colour import to_sh
from zero1a_jax.types import Array, Avatar, FlameModel, Portrait

_SHARE = 0.5  # of the free slots, so that density control keeps the other half
_OPAQUE = 0.9  # alpha from which a pixel belongs to the person: rims carry background
_WIDE = 3 / 128  # of the picture, a side of the squares it consists of: thinner is the fit's error, not hair
_OPACITY_LOGIT = 2.2  # 0.9: hair is not seen through
_SIZE = 0.6  # standard deviation in pixel spacings


def cover_outside(
    avatar: Avatar, model: FlameModel, portrait: Portrait, *, offset: Array | None = None
) -> Avatar:
    """The avatar with free slots turned into Gaussians at portrait pixels that the mesh leaves empty.

    A line of such pixels along the mesh's outline is left out: from the side it would be a row of specks.
    Each hangs on the triangle nearest to it in the picture, at that triangle's depth, with the pixel's
    colour. With more such pixels than slots an even subset is taken. The surface's Gaussians stay.
    `offset` [F, 3], metres in the triangles' frames, says how far the surface's Gaussians already stand off.
    """
    vertices, _ = forward(model, portrait.flame.replace(shape=avatar.shape))
    faces, camera = jnp.asarray(model.faces), portrait.camera
    covering = vertices if offset is None else moved(vertices, faces, offset)
    face_id, _, _ = zbuffer(*project(camera, covering), faces, camera.height, camera.width)
    outside = _opened((face_id < 0) & (portrait.alpha > _OPAQUE)).ravel()

    count = max(1, int(_SHARE * (len(avatar.alive) - len(faces))))
    index, found, spacing = _even_subset(outside, count)
    slots = jnp.argsort(avatar.alive, stable=True)[:count]  # free ones first
    use = found & ~avatar.alive[slots]
    place = jnp.where(use, slots, len(avatar.alive))  # beyond the end: dropped

    pixels = jnp.stack([index % camera.width, index // camera.width], -1) + 0.5
    origin, rotation, scale = triangle_frames(vertices, faces)
    near, depth = _nearest(pixels, *project(camera, origin))
    seen = jnp.concatenate([(pixels - camera.center) / camera.focal * depth[:, None], depth[:, None]], -1)
    view = camera.world_to_camera
    world = (seen - view[:3, 3]) @ view[:3, :3]
    local = jnp.einsum("nji,nj->ni", rotation[near], world - origin[near], precision="highest")
    size = _SIZE * spacing * depth / camera.focal[0] / scale[near]
    colours = portrait.rgb.reshape(-1, 3)[index]

    old = avatar.gaussians
    gaussians = old.replace(
        means=old.means.at[place].set(local / scale[near, None], mode="drop"),
        log_scales=old.log_scales.at[place].set(jnp.log(size)[:, None], mode="drop"),
        quats=old.quats.at[place].set(jnp.array([1.0, 0.0, 0.0, 0.0]), mode="drop"),
        sh=old.sh.at[place].set(0.0, mode="drop").at[place, 0].set(to_sh(colours), mode="drop"),
        opacity_logits=old.opacity_logits.at[place].set(_OPACITY_LOGIT, mode="drop"),
    )
    return avatar.replace(
        gaussians=gaussians,
        face_ids=avatar.face_ids.at[place].set(near, mode="drop"),
        alive=avatar.alive.at[place].set(True, mode="drop"),
    )


def moved(vertices: Array, faces: Array, offset: Array) -> Array:
    """Vertices [V, 3] moved by the mean of their triangles' offsets [F, 3], metres in triangle frames."""
    _, rotation, _ = triangle_frames(vertices, faces)
    world = jnp.einsum("fij,fj->fi", rotation, offset, precision="highest")
    return vertices + at_vertices(world, faces, len(vertices))


def at_vertices(values: Array, faces: Array, count: int) -> Array:
    """Means [count, C], over the triangles [F, 3] around each vertex, of their values [F, C]."""
    total = jnp.zeros((count, values.shape[1] + 1))
    for k in range(3):
        total = total.at[faces[:, k]].add(jnp.concatenate([values, jnp.ones((len(values), 1))], -1))
    return total[:, :-1] / jnp.maximum(total[:, -1:], 1.0)


def _opened(chosen: Array) -> Array:
    """Those pixels [H, W] that lie in a square of chosen ones, _WIDE a side and three pixels at least."""
    side = max(3, round(_WIDE * chosen.shape[1]))
    window, step = (side, side), (1, 1)
    whole = jax.lax.reduce_window(chosen, True, jax.lax.bitwise_and, window, step, "VALID")
    margin = [(side - 1, side - 1)] * 2
    return jax.lax.reduce_window(whole, False, jax.lax.bitwise_or, window, step, margin)


def _even_subset(chosen: Array, count: int) -> tuple[Array, Array, Array]:
    """`count` indices spread evenly over the true entries of `chosen` [P], which are real, and their spacing.

    Spacing is the side of the square of entries that each index stands for, at least 1.
    """
    reached = jnp.cumsum(chosen.astype(jnp.int32))
    total = reached[-1]
    number = jnp.arange(count)
    ratio = jnp.maximum(total / count, 1.0)
    rank = jnp.minimum(jnp.floor((number + 0.5) * ratio).astype(jnp.int32), total - 1)
    rank = jnp.where(total <= count, number, rank)
    index = jnp.minimum(jnp.searchsorted(reached, rank + 1), len(chosen) - 1)
    return index, number < total, jnp.sqrt(ratio)


def _nearest(points: Array, pixels: Array, depth: Array) -> tuple[Array, Array]:
    """For points [N, 2] the nearest of pixels [F, 2]: its index [N] and depth [N]."""

    def one(point: Array) -> Array:
        return jnp.argmin(jnp.sum((pixels - point) ** 2, -1)).astype(jnp.int32)

    near = jax.lax.map(one, points, batch_size=256)
    return near, depth[near]
