"""Training crops for the landmark net: renders placed, lit and spoiled at random.

The people are synthetic, the portraits to come are not. So everything that is not the face's geometry is
randomised: background, light, colours, sharpness, noise, compression and what hides parts of the face.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.preprocess.landmark_net import CROP, IRISES
from zero1a_jax.pretraining.landmark_renders import Truth
from zero1a_jax.types import Array

SIDE = 2.0  # nominal side of a crop in extents of the points; the detector cuts the same
SCALES = (0.65, 1.5)  # of the nominal side
SHIFT, TURN = 0.3, 0.3  # extents; radians (standard deviation)
NO_FACE, FAR_OFF = 0.15, 0.20  # shares of crops without a face, and with one far from the nominal place

PIECE = 40  # pixels of another render that may fill the background


class Crops(NamedTuple):
    """A batch for one step. Points and rotation count only where `face` is 1."""

    rgb: Array  # [B, 128, 128, 3] in 0..1
    points: Array  # [B, 134, 2] pixels of the crop
    rotation: Array  # [B, 3, 3]
    face: Array  # [B] 0 or 1


_apart = jax.lax.optimization_barrier


def make_crops(key: Array, truth: Truth) -> Crops:
    """One random crop of each of B renders. Several programs, since one compiles and runs far slower."""
    keys = jax.random.split(key, (6, len(truth.points)))
    image, points, rotation, face = _place(keys[0], truth)
    image = _behind(keys[1], image, jnp.roll(jnp.asarray(truth.rgba), 1, 0))
    image = _hide(keys[2], image)
    image = _mix(keys[3], image, face)
    image = _shade(keys[4], image)
    return Crops(_spoil(keys[5], image), points, rotation, face)


@jax.jit
@jax.vmap
def _place(key: Array, truth: Truth) -> tuple[Array, Array, Array, Array]:
    """The person on nothing [128, 128, 4], colours times coverage, with points and rotation."""
    keys = jax.random.split(key, 2)
    kind = jax.random.uniform(keys[0])
    empty, off = kind < NO_FACE, (kind >= NO_FACE) & (kind < NO_FACE + FAR_OFF)
    linear, center, angle = _placement(keys[1], truth.points, off)
    person = _sample(truth.rgba, linear, center) * jnp.where(empty, 0.0, 1.0)
    moved = (truth.points - center) @ linear.T + 0.5 * CROP
    c, s = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return person, moved, turn @ truth.rotation, 1.0 - (empty | off)


@jax.jit
@jax.vmap
def _behind(key: Array, person: Array, other: Array) -> Array:
    return person[..., :3] + _background(key, other) * (1.0 - person[..., 3:])


@jax.jit
@jax.vmap
def _spoil(key: Array, image: Array) -> Array:
    keys = jax.random.split(key, 2)
    return _degrade(keys[1], _apart(_recolour(keys[0], image)))


_hide = jax.jit(jax.vmap(lambda key, image: _occlude(key, image)))
_mix = jax.jit(jax.vmap(lambda key, image, face: _shuffle_patches(key, image, face)))
_shade = jax.jit(jax.vmap(lambda key, image: _light(key, image)))


def _placement(key: Array, points: Array, off: Array) -> tuple[Array, Array, Array]:
    """A similarity from render to crop pixels: matrix [2, 2], the render's point that lands in the
    middle [2], and its angle (clockwise on screen)."""
    keys = jax.random.split(key, 7)
    face = points[: -len(IRISES)]
    low, high = face.min(0), face.max(0)
    extent = jnp.max(high - low)
    scale = jnp.exp(jax.random.uniform(keys[0], minval=math.log(SCALES[0]), maxval=math.log(SCALES[1])))
    shift = jax.random.uniform(keys[1], (2,), minval=-SHIFT, maxval=SHIFT)
    angle = TURN * jnp.clip(jax.random.normal(keys[2]), -2.5, 2.5)
    wrong_scale = jnp.where(
        jax.random.uniform(keys[3]) < 0.6,
        jax.random.uniform(keys[4], minval=2.1, maxval=4.5),
        jax.random.uniform(keys[4], minval=0.2, maxval=0.46),
    )
    around = jax.random.uniform(keys[5], maxval=2.0 * math.pi)
    wrong_shift = jnp.array([jnp.cos(around), jnp.sin(around)]) * jax.random.uniform(
        keys[5], minval=0.65, maxval=1.4
    )
    by_scale = jax.random.uniform(keys[6]) < 0.5
    scale = jnp.where(off & by_scale, wrong_scale, scale)
    shift = jnp.where(off & ~by_scale, wrong_shift, shift)
    size = CROP / (SIDE * extent * scale)
    c, s = size * jnp.cos(angle), size * jnp.sin(angle)
    return jnp.array([[c, -s], [s, c]]), 0.5 * (low + high) + shift * extent, angle


def _sample(rgba: Array, linear: Array, center: Array) -> Array:
    """The render in the crop: colours times coverage, and coverage [128, 128, 4]. Below the render its
    last row goes on, as a body would."""
    side = rgba.shape[0]
    x = jnp.arange(CROP) + 0.5 - 0.5 * CROP
    grid = jnp.stack(jnp.meshgrid(x, x), -1)
    inverse = jnp.linalg.inv(linear)
    where = grid @ inverse.T + center - 0.5
    column, row = where[..., 0], jnp.minimum(where[..., 1], side - 2.0)
    left, top = jnp.floor(column), jnp.floor(row)
    fx, fy = column - left, row - top
    inside = (left >= 0) & (left < side - 1) & (top >= 0)
    i = jnp.clip(top, 0, side - 2).astype(jnp.int32)
    j = jnp.clip(left, 0, side - 2).astype(jnp.int32)
    # A texel is one 32-bit word, and indices are kept apart from the gather: both for speed on a CPU.
    words = jax.lax.bitcast_convert_type(rgba, jnp.uint32).reshape(-1)
    index, fx, fy, inside = _apart((i * side + j, fx, fy, inside))
    total = 0.0
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (fy if down else 1 - fy) * (fx if right else 1 - fx)
        texel = _apart(words[index + down * side + right])
        parts = [(texel >> shift) & 255 for shift in (0, 8, 16, 24)]
        *colour, cover = (part.astype(jnp.float32) / 255.0 for part in parts)
        cover = cover * weight * inside
        total += jnp.stack([*(c * cover for c in colour), cover], -1)
    return total


def _noise(key: Array, channels: int, smooth: Array) -> Array:
    """Noise [128, 128, C] of about unit range, from coarse (`smooth` 1) to fine (0)."""
    total, weights = 0.0, 0.0
    for octave, k in zip((3, 6, 12, 24, 64), jax.random.split(key, 5), strict=True):
        weight = (3.0 / octave) ** (1.6 * smooth)
        coarse = jax.random.uniform(k, (octave, octave, channels), minval=-1.0)
        total += weight * jax.image.resize(coarse, (CROP, CROP, channels), "linear")
        weights += weight**2
    return total / jnp.sqrt(weights)


def _background(key: Array, other: Array) -> Array:
    """Even, graded, noisy, cluttered, or a strongly enlarged piece of another picture."""
    keys = jax.random.split(key, 8)
    base = jax.random.uniform(keys[0], (3,))
    slope = jax.random.normal(keys[1], (2, 3)) * 0.3
    x = jnp.linspace(-1, 1, CROP)
    graded = base + x[:, None, None] * slope[0] + x[:, None] * slope[1]
    amount = jnp.maximum(jax.random.uniform(keys[2], minval=-0.3, maxval=0.8), 0.0)
    image = graded + amount * _noise(keys[3], 3, jax.random.uniform(keys[4]))
    clutter = jax.random.uniform(keys[5]) < 0.5
    for k in jax.random.split(keys[6], 6):
        image = _patch(k, image, clutter, 0.15, 0.7)
    piece = jax.random.split(keys[7], 3)
    corner = jax.random.randint(piece[0], (2,), 10, other.shape[0] - PIECE)
    texels = jax.lax.dynamic_slice(other, (corner[0], corner[1], 0), (PIECE, PIECE, 4))
    texels = jax.image.resize(texels.astype(jnp.float32) / 255.0, (CROP, CROP, 4), "linear")
    picture = image + texels[..., 3:] * (texels[..., :3] - image)
    return jnp.where(jax.random.uniform(piece[2]) < 0.2, picture, image)


def _patch(key: Array, image: Array, wanted: Array, smallest: float, largest: float) -> Array:
    """Lays a turned rectangle or ellipse of one colour, with texture, over an image."""
    keys = jax.random.split(key, 7)
    x = (jnp.arange(CROP) + 0.5) / CROP
    middle = jax.random.uniform(keys[0], (2,))
    half = 0.5 * jax.random.uniform(keys[1], (2,), minval=smallest, maxval=largest)
    angle = jax.random.uniform(keys[2], maxval=math.pi)
    c, s = jnp.cos(angle), jnp.sin(angle)
    dx, dy = x[None, :] - middle[0], x[:, None] - middle[1]
    u, v = (c * dx + s * dy) / half[0], (c * dy - s * dx) / half[1]
    inside = jnp.where(
        jax.random.uniform(keys[3]) < 0.5, jnp.maximum(jnp.abs(u), jnp.abs(v)), jnp.sqrt(u * u + v * v)
    )
    colour = jax.random.uniform(keys[4], (3,))
    rough = jax.random.uniform(keys[5]) * 0.3
    stripes = jnp.sin((c * dx + s * dy) * CROP * jax.random.uniform(keys[6], minval=0.1, maxval=1.5))
    mask = (inside < 1.0) & wanted
    return jnp.where(mask[..., None], colour + rough * stripes[..., None], image)


def _occlude(key: Array, image: Array) -> Array:
    keys = jax.random.split(key, 6)
    for k in range(3):
        image = _patch(keys[2 * k], image, jax.random.uniform(keys[2 * k + 1]) < 0.17, 0.08, 0.4)
    return image


def _shuffle_patches(key: Array, image: Array, face: Array) -> Array:
    """A third of the crops that show no face are cut into 16 squares and mixed."""
    keys = jax.random.split(key, 2)
    side = CROP // 4
    squares = image.reshape(4, side, 4, side, 3).transpose(0, 2, 1, 3, 4).reshape(16, side, side, 3)
    squares = jax.random.permutation(keys[0], squares)
    mixed = squares.reshape(4, 4, side, side, 3).transpose(0, 2, 1, 3, 4).reshape(image.shape)
    return jnp.where((face == 0) & (jax.random.uniform(keys[1]) < 0.33), mixed, image)


def _light(key: Array, image: Array) -> Array:
    """Shadows and highlights that vary slowly over the crop, and sometimes a hard shadow's edge."""
    keys = jax.random.split(key, 5)
    soft = _noise(keys[0], 1, jnp.float32(1.5)) * jax.random.uniform(keys[1], maxval=0.5)
    side = jax.random.normal(keys[2], (2,))
    x = jnp.linspace(-1, 1, CROP)
    ramp = side[0] * x[None, :] + side[1] * x[:, None] - 0.3
    hard = jax.nn.sigmoid(ramp * jnp.exp(jax.random.uniform(keys[3], minval=0.5, maxval=3.0)))
    depth = jnp.maximum(jax.random.uniform(keys[4], minval=-0.8, maxval=0.8), 0.0)
    return image * jnp.exp(soft - depth * hard[..., None])


def _recolour(key: Array, image: Array) -> Array:
    keys = jax.random.split(key, 6)
    image = jnp.clip(image, 0.0, 1.5)
    mix = jnp.eye(3) + 0.08 * jax.random.normal(keys[0], (3, 3))
    image = image @ mix
    grey = image.mean(-1, keepdims=True)
    saturation = jax.random.uniform(keys[1], minval=0.3, maxval=1.6)
    saturation = jnp.where(jax.random.uniform(keys[2]) < 0.15, 0.0, saturation)
    image = grey + (image - grey) * saturation
    gamma = jnp.exp(0.35 * jax.random.normal(keys[3]))
    image = jnp.exp(gamma * jnp.log(jnp.maximum(image, 1e-4)))
    gain = jnp.exp(0.25 * jax.random.normal(keys[4]))
    return jnp.clip(image * gain + 0.06 * jax.random.normal(keys[5], (3,)), 0.0, 1.0)


def _degrade(key: Array, image: Array) -> Array:
    """Blur, compression in blocks of 8, noise."""
    keys = jax.random.split(key, 5)
    sigma = 0.3 + jnp.maximum(jax.random.uniform(keys[0], minval=-1.5, maxval=2.2), 0.0)
    gap = jnp.arange(CROP)[:, None] - jnp.arange(CROP)
    blur = jnp.exp(-0.5 * (gap / sigma) ** 2)
    blur = blur / jnp.sum(blur, 1, keepdims=True)
    image = jnp.einsum("ij,jkc->ikc", blur, image)
    image = _apart(jnp.einsum("ij,kjc->kic", blur, image))
    step = jnp.maximum(jax.random.uniform(keys[1], minval=-0.15, maxval=0.1), 0.0)
    image = jnp.where(step > 0, _compress(image, step + 1e-3), image)
    level = jnp.maximum(jax.random.uniform(keys[2], minval=-0.05, maxval=0.08), 0.0)
    # Sums of two uniform bytes are near enough to normal, and cheap.
    bits = jax.random.bits(keys[3], image.shape, jnp.uint16).astype(jnp.int32)
    grain = ((bits & 255) + (bits >> 8) - 255) / 104.0
    return jnp.clip(image + level * grain, 0.0, 1.0)


def _compress(image: Array, step: Array) -> Array:
    """What JPEG does: cosine coefficients of 8 x 8 blocks rounded, high ones more coarsely."""
    n = np.arange(8)
    basis = np.sqrt(2 / 8) * np.cos(np.pi * (2 * n[None] + 1) * n[:, None] / 16)
    basis[0] /= math.sqrt(2)
    basis = jnp.asarray(basis, jnp.float32)
    blocks = image.reshape(CROP // 8, 8, CROP // 8, 8, 3)
    spectrum = jnp.einsum("ai,bj,yixjc->yaxbc", basis, basis, blocks)
    coarse = step * (1.0 + 0.7 * (n[:, None] + n[None]))[None, :, None, :, None]
    spectrum = jnp.round(spectrum / coarse) * coarse
    return jnp.einsum("ai,bj,yaxbc->yixjc", basis, basis, spectrum).reshape(image.shape)
