"""Landmark images that condition portrait video diffusions, drawn in jax.numpy.

AniPortrait's face is 114 coloured lines between 119 points of MediaPipe's face mesh (468 or 478 points), on a
black 512 x 512 canvas, each as OpenCV draws a line of thickness 2 without anti-aliasing. Chains,
colours and their order are facts of AniPortrait (Wei et al. 2024, its inference code).
Follow-Your-Emoji's expression-aware landmarks (Ma et al. 2024, its inference code) are the same eyes, brows
and inner lips by lines of thickness 1, without outline and outer lips, and the pupils as red squares.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..types import Array

CANVAS = 512
CHUNK = 4096  # pixels along the lines drawn at once; a face that fills the canvas has about 3,500
OUTER_EYE_CORNERS = (33, 263)  # the subject's right and left; their distance is the measure of a face
PUPILS = (468, 473)  # the centres of the irises, the subject's right and left

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


class Style(NamedTuple):
    """How a model wants its landmarks drawn."""

    ids: tuple[int, ...]  # MediaPipe ids of the points, in order
    groups: tuple  # see GROUPS
    thickness: int  # of the lines: 1 or 2
    dots: tuple[int, ...] = ()  # ids of points drawn as squares over the lines
    dot_half: int = 3  # a square covers the pixels from its point's minus this to plus this, exclusive
    dot_colour: tuple[int, int, int] = (255, 0, 0)

    @property
    def palette(self) -> np.ndarray:
        """Colours in 0..1 of black, the groups, and the dots; float32 [G + 2, 3]."""
        colours = [(0, 0, 0), *(colour for colour, _ in self.groups), self.dot_colour]
        return np.array(colours, np.float32) / 255.0


STYLES = {
    "aniportrait": Style(DRAWN_MEDIAPIPE, GROUPS, 2),
    "emoji": Style(DRAWN_MEDIAPIPE + PUPILS, (*GROUPS[1:5], *GROUPS[7:9], *GROUPS[11:]), 1, PUPILS),
}


def style_of(condition: str) -> str:
    """The style of a kind of condition image: "emoji" has its own, the others have AniPortrait's lines."""
    return condition if condition in STYLES else "aniportrait"


def points_of(condition: str) -> tuple[int, ...]:
    """MediaPipe ids of the points that a kind of condition image is drawn from, in the order of `draw`."""
    return STYLES[style_of(condition)].ids


def edges_of(style: Style) -> tuple[np.ndarray, np.ndarray]:
    """The lines as pairs of rows of the style's ids [E, 2], and their group [E], from 1."""
    row = {index: i for i, index in enumerate(style.ids)}
    pairs, groups = [], []
    for group, (_, chains) in enumerate(style.groups):
        for chain in chains:
            for a, b in zip(chain[:-1], chain[1:], strict=True):
                pairs.append((row[a], row[b]))
                groups.append(group + 1)
    return np.array(pairs, np.int32), np.array(groups, np.int32)


EDGES, EDGE_GROUPS = edges_of(STYLES["aniportrait"])
EDGE_COLOURS = np.array([GROUPS[group - 1][0] for group in EDGE_GROUPS], np.uint8)


def draw(points: Array, height: int, width: int, *, style: str = "aniportrait") -> jax.Array:
    """Draws landmark images.

    Args:
      points: [*B, P, 2] pixels (x, y) of the `height` x `width` image, in the order of the style's ids: 119
        (DRAWN_MEDIAPIPE) for "aniportrait", and the two pupils behind them for "emoji". Lines of points
        outside the image (or not finite) are left out.
      height, width: size of the image, static.
      style: one of STYLES, static.

    Returns:
      [*B, height, width, 3] in 0..1; the three channels are the model's, in the network's order.
      At 512 x 512 these are OpenCV's lines, of thickness 2 but for single pixels at line edges. Other sizes
      are that canvas resized: the mean of blocks where the size divides 512 (at 256 this is AniPortrait's
      bilinear resize, below it keeps thin lines whole), bilinear elsewhere. No gradient passes.

    Raises:
      ValueError: the points have another shape, or there is no such style.
    """
    if style not in STYLES:
        raise ValueError(f"landmark style is {style!r}; choose from {', '.join(STYLES)}.")
    count = len(STYLES[style].ids)
    if points.ndim < 2 or points.shape[-2:] != (count, 2):
        raise ValueError(f"draw needs points of shape [*B, {count}, 2] but got {points.shape}.")
    return _draw(jnp.asarray(points), height, width, style)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _draw(points: jax.Array, height: int, width: int, name: str) -> jax.Array:
    style, leading = STYLES[name], points.shape[:-2]
    unit = points.reshape(-1, *points.shape[-2:]) / jnp.array([width, height], points.dtype)
    canvas = _draw_groups(unit, style)
    palette = jnp.asarray(style.palette)
    if CANVAS % height == 0 and CANVAS % width == 0:
        image = _block_means(canvas, palette, height, width)
    else:
        image = palette[canvas]
        image = jax.image.resize(image, (len(image), height, width, 3), "linear", antialias=False)
    return image.reshape(*leading, height, width, 3)


def _block_means(canvas: jax.Array, palette: jax.Array, height: int, width: int) -> jax.Array:
    """Colours [B, height, width, 3] of groups [B, 512, 512], averaged over equal blocks."""
    y, x = CANVAS // height, CANVAS // width
    canvas = canvas.reshape(len(canvas), height, y, width, x).astype(jnp.int32)
    total = jnp.zeros(())
    for i in range(y):
        for j in range(x):
            total += palette[canvas[:, :, i, :, j]]
    return total / (y * x)


def _draw_groups(unit: jax.Array, style: Style) -> jax.Array:
    """The canvas as group numbers [B, 512, 512] uint8 (0: black), for points [B, P, 2] in 0..1.

    Lines are walked along their longer axis; their pixel columns are laid end to end and drawn in
    chunks, so that the work follows the length drawn and not the area. A line's group number is its
    rank in the drawing order, so a maximum keeps the later line.
    """
    edges, edge_groups = edges_of(style)
    stamp, reach = (_stamp, 2) if style.thickness == 2 else (_stamp_thin, 0)  # pixels beyond a line's ends
    batch = len(unit)
    inside = jnp.all((unit >= 0) & (unit <= 1), -1)  # False for NaN
    cells = jnp.clip(jnp.floor(jnp.where(inside[..., None], unit, 0) * CANVAS), 0, CANVAS - 1)
    start, end = cells[:, edges[:, 0]], cells[:, edges[:, 1]]  # [B, E, 2]
    drawn = inside[:, edges[:, 0]] & inside[:, edges[:, 1]]
    length = jnp.max(jnp.abs(end - start), -1)
    counts = jnp.where(drawn, length + 1 + 2 * reach, 0).astype(jnp.int32)
    ends = jnp.cumsum(counts, -1)
    total = jnp.max(ends[:, -1])
    rows = jnp.arange(batch)[:, None]

    def body(carry):
        first, canvas = carry
        sample = jnp.broadcast_to(first + jnp.arange(CHUNK), (batch, CHUNK))
        edge = jnp.sum(sample[..., None] >= ends[:, None], -1)  # E where all lines are done
        done = edge >= len(edges)
        edge = jnp.minimum(edge, len(edges) - 1)
        along = sample - ends[rows, edge] + counts[rows, edge] - reach
        x, y, hit = stamp(start[rows, edge], end[rows, edge], along.astype(jnp.float32))
        hit &= ~done[..., None] & (x >= 0) & (x < CANVAS) & (y >= 0) & (y < CANVAS)
        flat = jnp.where(hit, (rows[..., None] * CANVAS + y) * CANVAS + x, batch * CANVAS**2)
        group = jnp.broadcast_to(jnp.asarray(edge_groups, jnp.uint8)[edge][..., None], flat.shape)
        return first + CHUNK, canvas.at[flat.reshape(-1)].max(group.reshape(-1), mode="drop")

    canvas = jnp.zeros(batch * CANVAS**2, jnp.uint8)
    _, canvas = jax.lax.while_loop(lambda carry: carry[0] < total, body, (jnp.int32(0), canvas))
    canvas = canvas.reshape(batch, CANVAS, CANVAS)
    for index in style.dots:
        i, half = style.ids.index(index), style.dot_half
        near = [
            (jnp.arange(CANVAS) >= cells[:, i, axis, None] - half)
            & (jnp.arange(CANVAS) < cells[:, i, axis, None] + half)
            for axis in (0, 1)
        ]
        dot = near[1][:, :, None] & near[0][:, None, :] & inside[:, i, None, None]
        canvas = jnp.where(dot, jnp.uint8(len(style.groups) + 1), canvas)
    return canvas


def _stamp_thin(start: jax.Array, end: jax.Array, along: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The pixel (x, y) [..., 1] at a step along the longer axis of a line one pixel thick.

    Bresenham's line as OpenCV walks it: from the left, and halves stay with the pixel before.
    """
    swap = (end[..., 0] < start[..., 0])[..., None]
    start, end = (jnp.where(swap, a, b).astype(jnp.int32) for a, b in ((end, start), (start, end)))
    along = along.astype(jnp.int32)
    delta = end - start
    size = jnp.abs(delta)
    steep = size[..., 1] > size[..., 0]
    long, short = jnp.max(size, -1), jnp.min(size, -1)
    across = (2 * short * along + long - 1) // jnp.maximum(2 * long, 1)
    moved = jnp.stack([jnp.where(steep, across, along), jnp.where(steep, along, across)], -1)
    pixel = start + jnp.sign(delta) * moved
    return pixel[..., :1], pixel[..., 1:], jnp.ones((*pixel.shape[:-1], 1), bool)


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
    across = middle[..., None] + jnp.arange(-2, 3, dtype=along.dtype)
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
