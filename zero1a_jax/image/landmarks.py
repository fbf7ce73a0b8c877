"""AniPortrait's landmark image, drawn in jax.numpy.

The face is 114 coloured lines between 119 points of MediaPipe's face mesh (468 or 478 points), on a
black 512 x 512 canvas, each as OpenCV draws a line of thickness 2 without anti-aliasing. Chains,
colours and their order are facts of AniPortrait (Wei et al. 2024, its inference code).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..types import Array

CANVAS = 512
CHUNK = 4096  # pixels along the lines drawn at once; a face that fills the canvas has about 3,500
REACH = 2  # pixels to each side of a line that its thickness can touch

OUTLINE = (
    21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361,
    323, 454, 356, 389, 251,
)  # fmt: skip
# Groups in drawing order (later ones cover earlier ones): 8-bit colour, then chains of MediaPipe ids.
GROUPS = (
    ((10, 200, 10), (OUTLINE,)),
    ((180, 200, 10), ((263, 249, 390, 373, 374, 380, 381, 382, 362),
                      (263, 466, 388, 387, 386, 385, 384, 398, 362))),
    ((180, 220, 10), ((276, 283, 282, 295, 285), (300, 293, 334, 296, 336))),
    ((10, 200, 180), ((33, 7, 163, 144, 145, 153, 154, 155, 133),
                      (33, 246, 161, 160, 159, 158, 157, 173, 133))),
    ((10, 220, 180), ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107))),
    ((10, 180, 20), ((61, 146, 91, 181, 84, 17),)),
    ((20, 10, 180), ((17, 314, 405, 321, 375, 291),)),
    ((100, 100, 30), ((78, 95, 88, 178, 87, 14),)),
    ((100, 150, 50), ((14, 317, 402, 318, 324, 308),)),
    ((20, 80, 100), ((61, 185, 40, 39, 37, 0),)),
    ((80, 100, 20), ((0, 267, 269, 270, 409, 291),)),
    ((120, 100, 200), ((78, 191, 80, 81, 82, 13),)),
    ((150, 120, 100), ((13, 312, 311, 310, 415, 308),)),
)  # fmt: skip

DRAWN_FEATURES = tuple(sorted({i for _, chains in GROUPS[1:] for chain in chains for i in chain}))
DRAWN_MEDIAPIPE = DRAWN_FEATURES + OUTLINE
"""The 119 drawn MediaPipe ids: the 92 feature ids in ascending order, then the 27 of the outline,
from the subject's right temple under the chin to the left."""


def _edges() -> tuple[np.ndarray, np.ndarray]:
    """The lines as pairs of rows of DRAWN_MEDIAPIPE [114, 2], and their group [114], from 1."""
    row = {index: i for i, index in enumerate(DRAWN_MEDIAPIPE)}
    pairs, groups = [], []
    for group, (_, chains) in enumerate(GROUPS):
        for chain in chains:
            for a, b in zip(chain[:-1], chain[1:], strict=True):
                pairs.append((row[a], row[b]))
                groups.append(group + 1)
    return np.array(pairs, np.int32), np.array(groups, np.int32)


EDGES, EDGE_GROUPS = _edges()
EDGE_COLOURS = np.array([GROUPS[group - 1][0] for group in EDGE_GROUPS], np.uint8)
_PALETTE = np.array([(0, 0, 0), *(colour for colour, _ in GROUPS)], np.float32) / 255.0


def draw(points: Array, height: int, width: int) -> jax.Array:
    """Draws landmark images.

    Args:
      points: [*B, 119, 2] pixels (x, y) of the `height` x `width` image, the order of DRAWN_MEDIAPIPE.
        Lines of points outside the image (or not finite) are left out.
      height, width: size of the image, static.

    Returns:
      [*B, height, width, 3] in 0..1; the three channels are AniPortrait's, in the network's order.
      At 512 x 512 these are OpenCV's lines but for single pixels at line edges. Other sizes are that
      canvas resized: the mean of blocks where the size divides 512 (at 256 this is AniPortrait's
      bilinear resize, below it keeps thin lines whole), bilinear elsewhere. No gradient passes.

    Raises:
      ValueError: the points have another shape.
    """
    if points.ndim < 2 or points.shape[-2:] != (len(DRAWN_MEDIAPIPE), 2):
        raise ValueError(f"draw needs points of shape [*B, 119, 2] but got {points.shape}.")
    return _draw(jnp.asarray(points), height, width)


@partial(jax.jit, static_argnums=(1, 2))
def _draw(points: jax.Array, height: int, width: int) -> jax.Array:
    leading = points.shape[:-2]
    unit = points.reshape(-1, len(DRAWN_MEDIAPIPE), 2) / jnp.array([width, height], points.dtype)
    canvas = _draw_groups(unit)
    if CANVAS % height == 0 and CANVAS % width == 0:
        image = _block_means(canvas, height, width)
    else:
        image = jnp.asarray(_PALETTE)[canvas]
        image = jax.image.resize(image, (len(image), height, width, 3), "linear", antialias=False)
    return image.reshape(*leading, height, width, 3)


def _block_means(canvas: jax.Array, height: int, width: int) -> jax.Array:
    """Colours [B, height, width, 3] of groups [B, 512, 512], averaged over equal blocks."""
    y, x = CANVAS // height, CANVAS // width
    canvas = canvas.reshape(len(canvas), height, y, width, x).astype(jnp.int32)
    total = jnp.zeros(())
    for i in range(y):
        for j in range(x):
            total += jnp.asarray(_PALETTE)[canvas[:, :, i, :, j]]
    return total / (y * x)


def _draw_groups(unit: jax.Array) -> jax.Array:
    """The canvas as group numbers [B, 512, 512] uint8 (0: black), for points [B, 119, 2] in 0..1.

    Lines are walked along their longer axis; their pixel columns are laid end to end and drawn in
    chunks, so that the work follows the length drawn and not the area. A line's group number is its
    rank in the drawing order, so a maximum keeps the later line.
    """
    batch = len(unit)
    inside = jnp.all((unit >= 0) & (unit <= 1), -1)  # False for NaN
    cells = jnp.clip(jnp.floor(jnp.where(inside[..., None], unit, 0) * CANVAS), 0, CANVAS - 1)
    start, end = cells[:, EDGES[:, 0]], cells[:, EDGES[:, 1]]  # [B, 114, 2]
    drawn = inside[:, EDGES[:, 0]] & inside[:, EDGES[:, 1]]
    length = jnp.max(jnp.abs(end - start), -1)
    counts = jnp.where(drawn, length + 1 + 2 * REACH, 0).astype(jnp.int32)
    ends = jnp.cumsum(counts, -1)
    total = jnp.max(ends[:, -1])
    rows = jnp.arange(batch)[:, None]

    def body(carry):
        first, canvas = carry
        sample = jnp.broadcast_to(first + jnp.arange(CHUNK), (batch, CHUNK))
        edge = jnp.sum(sample[..., None] >= ends[:, None], -1)  # 114 where all lines are done
        done = edge >= len(EDGES)
        edge = jnp.minimum(edge, len(EDGES) - 1)
        along = sample - ends[rows, edge] + counts[rows, edge] - REACH
        x, y, hit = _stamp(start[rows, edge], end[rows, edge], along.astype(jnp.float32))
        hit &= ~done[..., None] & (x >= 0) & (x < CANVAS) & (y >= 0) & (y < CANVAS)
        flat = jnp.where(hit, (rows[..., None] * CANVAS + y) * CANVAS + x, batch * CANVAS**2)
        group = jnp.broadcast_to(jnp.asarray(EDGE_GROUPS, jnp.uint8)[edge][..., None], flat.shape)
        return first + CHUNK, canvas.at[flat.reshape(-1)].max(group.reshape(-1), mode="drop")

    canvas = jnp.zeros(batch * CANVAS**2, jnp.uint8)
    _, canvas = jax.lax.while_loop(lambda carry: carry[0] < total, body, (jnp.int32(0), canvas))
    return canvas.reshape(batch, CANVAS, CANVAS)


def _stamp(start: jax.Array, end: jax.Array, along: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The pixels (x, y) [..., 5] across a line at a step along its longer axis, and which it covers.

    OpenCV fills the rectangle of half-width 1 about the line and a disc of radius 1 at both ends. It
    draws the rectangle's sides from corners rounded along the longer axis alone, which widens the
    lines steeper than 30 degrees to that axis.
    """
    delta = end - start
    steep = jnp.abs(delta[..., 1]) > jnp.abs(delta[..., 0])
    delta = jnp.where(steep[..., None], delta[..., ::-1], delta)  # longer axis first
    length = jnp.abs(delta[..., 0])
    sign = jnp.where(delta[..., 0] < 0, -1.0, 1.0)
    slope = delta[..., 1] / jnp.maximum(length, 1.0)
    middle = jnp.round(slope * along)
    across = middle[..., None] + jnp.arange(-REACH, REACH + 1, dtype=along.dtype)
    norm = jnp.sqrt(1.0 + slope**2)[..., None]
    offset = across - (slope * along)[..., None]  # along the shorter axis
    foot = (along[..., None] + slope[..., None] * across) / norm  # distance along the line
    sine = jnp.abs(slope)[..., None] / norm
    half = 1.0 / norm + jnp.where(sine > 0.5, jnp.abs(slope)[..., None], 0.0)
    in_band = jnp.abs(offset) <= half + 0.5
    in_band &= (foot >= -0.5) & (foot <= length[..., None] * norm + 0.5)
    from_end = jnp.stack([jnp.zeros_like(along), delta[..., 1]], -1)[..., None, :]
    steps = jnp.stack([along, along - length], -1)[..., None, :]
    in_disc = jnp.any(steps**2 + (across[..., None] - from_end) ** 2 <= 1.0, -1)
    first = jnp.where(steep, start[..., 1], start[..., 0]) + sign * along
    second = jnp.where(steep, start[..., 0], start[..., 1])[..., None] + across
    first = jnp.broadcast_to(first[..., None], second.shape)
    x, y = jnp.where(steep[..., None], second, first), jnp.where(steep[..., None], first, second)
    return x.astype(jnp.int32), y.astype(jnp.int32), in_band | in_disc
