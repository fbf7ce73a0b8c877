"""Mesh to face id, barycentrics and depth per pixel: a z-buffer in jax.numpy, exact, without a capacity.

The image is cut into blocks of BLOCK x BLOCK pixels. Every front face counts the blocks that its
bounding box touches; those (face, block) pairs, the slots, are worked off in chunks of a fixed length by
a while loop, so any number of faces of any size fits. A slot tests the pixels of its block at once and
lowers one row of the depth buffer, which is stored block by block: scatters move rows, not pixels, and
that is what makes it fast on a CPU.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.types import Array

BLOCK = 4
NEAR = 1e-6
_NO_FACE = jnp.iinfo(jnp.int32).max


def zbuffer(
    pixels: Array, depth: Array, faces: Array, height: int, width: int, *, chunk: int | None = None
) -> tuple[Array, Array, Array]:
    """Nearest front face at every pixel centre.

    pixels [V, 2] (x right, y down, centres at +0.5), depth [V] along the camera's axis (> 0 in front),
    faces [F, 3] int32 wound outward (counter-clockwise seen from outside, as in the world). Returns
    face_id [H, W] int32 (-1 where empty), barycentrics [H, W, 3] (perspective correct, 0 where empty) and
    depth [H, W] (inf where empty). Edges belong to both neighbours and shared edges are evaluated with one
    formula, so closed meshes have no cracks; at equal depth the lowest face id wins. Back faces, faces
    without area and faces with a vertex behind the camera (depth <= 1e-6) are dropped: there is no near
    clipping. Jittable and vmappable; visibility has no gradient. `chunk` only tunes speed.
    """
    if pixels.ndim != 2 or pixels.shape[1] != 2 or depth.shape != pixels.shape[:1]:
        raise ValueError(
            f"zbuffer wants pixels [V, 2] and depth [V], got {pixels.shape} and {depth.shape}: vmap it"
        )
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"zbuffer wants faces [F, 3], got {faces.shape}")
    rows, cols = -(-height // BLOCK), -(-width // BLOCK)
    slots = chunk or max(256, min(8192, faces.shape[0]))
    table, box = _setup(jnp.asarray(pixels, jnp.float32), jnp.asarray(depth, jnp.float32), jnp.asarray(faces))
    first, span, count = _blocks(box, height, width)
    end = jnp.cumsum(count)
    total = end[-1]
    lane = jnp.arange(BLOCK * BLOCK)
    lane_x, lane_y = (lane % BLOCK + 0.5).astype(jnp.float32), (lane // BLOCK + 0.5).astype(jnp.float32)

    def work(carry):
        start, nearest, owner = carry
        slot = start + jnp.arange(slots)
        # face of a slot: how many faces end at or before it
        shifted = jnp.zeros(slots + 1, jnp.int32).at[jnp.clip(end - start, 0, slots)].add(1)
        face = jnp.minimum(jnp.cumsum(shifted[:slots]), faces.shape[0] - 1)
        local = slot - (end[face] - count[face])
        block_x = first[face, 0] + local % jnp.maximum(span[face], 1)
        block_y = first[face, 1] + local // jnp.maximum(span[face], 1)
        block = jnp.where(slot < total, block_y * cols + block_x, rows * cols)
        x = (block_x * BLOCK)[:, None] + lane_x
        y = (block_y * BLOCK)[:, None] + lane_y
        inside, inverse_depth = _cover(table[face], x, y)[:2]
        z = jnp.where(inside, 1 / inverse_depth, jnp.inf)
        lowered = nearest.at[block].min(z)
        owner = jnp.where(lowered < nearest, _NO_FACE, owner)
        mine = jnp.where(inside & (z == lowered[block]), face[:, None], _NO_FACE)
        return start + slots, lowered, owner.at[block].min(mine)

    # one extra row takes the slots beyond the total
    empty = (
        jnp.int32(0),
        jnp.full((rows * cols + 1, BLOCK * BLOCK), jnp.inf, jnp.float32),
        jnp.full((rows * cols + 1, BLOCK * BLOCK), _NO_FACE, jnp.int32),
    )
    _, _, owner = jax.lax.while_loop(lambda carry: carry[0] < total, work, empty)
    face_id = owner[:-1].reshape(rows, cols, BLOCK, BLOCK).transpose(0, 2, 1, 3)
    face_id = face_id.reshape(rows * BLOCK, cols * BLOCK)[:height, :width]
    hit = face_id != _NO_FACE
    x = jnp.broadcast_to(jnp.arange(width) + 0.5, (height, width))
    y = jnp.broadcast_to((jnp.arange(height) + 0.5)[:, None], (height, width))
    _, inverse_depth, weights = _cover(table[jnp.where(hit, face_id, 0)], x, y, lanes=False)
    barycentrics = jnp.where(hit[..., None], weights / inverse_depth[..., None], 0)
    return jnp.where(hit, face_id, -1), barycentrics, jnp.where(hit, 1 / inverse_depth, jnp.inf)


def _setup(pixels: Array, depth: Array, faces: Array) -> tuple[Array, Array]:
    """Rows [F, 16] of edge coefficients and scaled inverse depths; boxes [F, 4], empty for dropped faces."""
    corner = pixels[faces]  # [F, 3, 2]
    z = depth[faces]
    # Edge k is opposite to corner k. Both neighbours take the same end as origin, so that their values are
    # exact negatives of each other and no pixel falls between them.
    i, j = faces[:, jnp.array([1, 2, 0])], faces[:, jnp.array([2, 0, 1])]
    low, high = jnp.minimum(i, j), jnp.maximum(i, j)
    sign = jnp.where(i < j, 1.0, -1.0)
    origin, along = pixels[low], pixels[high] - pixels[low]
    a, b = -sign * along[..., 1], sign * along[..., 0]
    # with y down outward faces turn clockwise: their area by this formula is negative
    area = (corner[:, 1, 0] - corner[:, 0, 0]) * (corner[:, 2, 1] - corner[:, 0, 1]) - (
        corner[:, 1, 1] - corner[:, 0, 1]
    ) * (corner[:, 2, 0] - corner[:, 0, 0])
    keep = (area < 0) & (z > NEAR).all(-1) & jnp.isfinite(corner).all((-1, -2))
    inverse = jnp.where(keep, 1 / jnp.where(keep, area, 1), 0)
    scaled = inverse[:, None] / jnp.where(keep[:, None], z, 1)
    table = jnp.concatenate([a, b, origin[..., 0], origin[..., 1], scaled, keep[:, None]], -1)
    low_corner, high_corner = corner.min(1), corner.max(1)
    box = jnp.where(
        keep[:, None], jnp.concatenate([low_corner, high_corner], -1), jnp.array([1.0, 1, -1, -1])
    )
    return jnp.where(jnp.isfinite(table), table, 0), jnp.where(jnp.isfinite(box), box, -1)


def _blocks(box: Array, height: int, width: int) -> tuple[Array, Array, Array]:
    """First block [F, 2], blocks a row [F] and blocks in all [F] of the pixel centres in each box."""
    size = jnp.array([width, height])
    low = jnp.clip(jnp.ceil(box[:, :2] - 0.5), 0, size).astype(jnp.int32)
    high = jnp.clip(jnp.floor(box[:, 2:] - 0.5), -1, size - 1).astype(jnp.int32)
    some = (low <= high).all(-1)
    first, last = low // BLOCK, high // BLOCK
    span = jnp.where(some[:, None], last - first + 1, 0)
    return first, span[:, 0], span[:, 0] * span[:, 1]


def _cover(row: Array, x: Array, y: Array, lanes: bool = True) -> tuple[Array, Array, Array]:
    """Inside test, inverse depth and the corners' shares of it at points (x, y); row [..., 16]."""
    part = [row[..., k, None] if lanes else row[..., k] for k in range(16)]
    edge = [part[k] * (x - part[6 + k]) + part[3 + k] * (y - part[9 + k]) for k in range(3)]
    inside = (edge[0] <= 0) & (edge[1] <= 0) & (edge[2] <= 0) & (part[15] > 0)
    share = [edge[k] * part[12 + k] for k in range(3)]
    inverse_depth = jnp.where(part[15] > 0, share[0] + share[1] + share[2], 1)
    return inside, inverse_depth, jnp.stack(share, -1)
