"""Fine detail for the texture prior's head, whose own texture is coarse and smooth. [D]

Clothes go round at one height and end at an edge, hair has strands as deep as the portrait's, and closed lids
have lashes.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
import scipy.spatial

from zero1a_jax.avatar import at_vertices, part_ids, smoothstep, texture_prior
from zero1a_jax.flame import procedural_head
from zero1a_jax.geometry import at_points
from zero1a_jax.symgen.carry import Seen, Surface, carried
from zero1a_jax.types import Array, FlameModel

ndimage: Any = scipy.ndimage  # its own annotations mislead type checkers
SIZE = 512  # texels, a side: a millimetre of skin
_LASHES = (0.0014, 0.0005)  # metres from the lids' edge between which they begin
_LASH = 0.4  # lightness of lashes, over the skin's
_CLOTHES = (-0.130, -0.140)  # metres above the head's origin between which clothes begin
_BIN = 0.001  # metres of height that share a colour of the clothes
_REACH, _COUNT = 0.12, 130  # metres below the clothes' upper end that are told apart, and such heights
_WIDE = 0.24  # metres to both sides of the middle in which stripes that run down are told apart
_RUNS_DOWN = (1.3, 2.0)  # times as much as places aside that heights leave unexplained: stripes run down
_BROAD = 8.0  # heights whose mean is compared with the prior's
_AGREES = 0.12  # change of colour against the prior's at which clothes are half believed
_SECTORS = 36  # around the neck, each with a colour of skin and one of clothes
_BARE = (-0.090, -0.105)  # metres of height between which the neck's skin is looked up
_CLAD = -0.180  # metres of height below which there are clothes
_NECK = -0.02  # metres, z of its middle
_EDGE = (0.40, 0.60)  # shares of the clothes' colour between which skin becomes clothes
_CONTRAST = (0.10, 0.25)  # between skin and clothes, from which their edge can be told
_HAIR = (0.002, 0.005)  # metres that hair stands off the head, between which it has strands
_CROWN = (0.0, 0.94, -0.342)  # from the middle of the head to where hair grows from
_STRANDS = (110, 0.016)  # around the head, and metres of their length
_DEPTH = (0.55, 0.15)  # of the portrait's own change of log lightness in hair, and no more than


class _Places(NamedTuple):
    """What is the same for all heads, at P = SIZE^2 texels."""

    ids: np.ndarray  # [P] triangles
    weights: np.ndarray  # [P, 3] barycentric
    skin: np.ndarray  # [P] 0 or 1: neither eyes nor teeth, nor beside the mesh
    height: np.ndarray  # [P] metres
    aside: np.ndarray  # [P] metres, to the person's left
    sector: np.ndarray  # [P] which part around the neck
    strands: np.ndarray  # [P], of variance 1


@functools.cache
def _places() -> _Places:
    with jax.ensure_compile_time_eval():
        model, at = procedural_head(), texture_prior.texels(SIZE)
        ids, weights = np.maximum(at.face_ids, 0).reshape(-1), at.weights.reshape(-1, 3)
        point = np.asarray(model.template)[np.asarray(model.faces)[ids]]
        point = (point * weights[..., None]).sum(1)
        skin = (at.face_ids.reshape(-1) >= 0) & at.large[ids] & (np.asarray(part_ids(model)) == 0)[ids]
        turn = np.arctan2(point[:, 0], point[:, 2] - _NECK) / (2 * np.pi) + 0.5
        sector = np.minimum((turn * _SECTORS).astype(np.int32), _SECTORS - 1)
        return _Places(
            ids, weights, skin.astype(np.float32), point[:, 1], point[:, 0], sector, _strands(point)
        )


@functools.cache
def _lid_edges() -> np.ndarray:
    """1 at the embedded head's vertices [V] where the lids end, else 0."""
    with jax.ensure_compile_time_eval():
        model = procedural_head()
        template, faces, masks = np.asarray(model.template), np.asarray(model.faces), model.masks or {}
        lids = np.asarray(masks["eyelids"])
        sockets = np.asarray(masks["left_eye_region"]) | np.asarray(masks["right_eye_region"])
        behind = (sockets & ~lids)[faces].any(1)
        edge = template[np.unique(faces[behind][lids[faces[behind]]])]
        away, _ = scipy.spatial.cKDTree(edge).query(template)
        return ((away < _LASHES[1]) & (lids | sockets)).astype(np.float32)


def lashes(vertices: Array, faces: Array, ids: Array, weights: Array) -> Array:
    """What colours [P] of the embedded head are multiplied by, for the lids' edges to have lashes.

    Args:
      vertices: [V, 3] of the posed head, metres: closing lids stretch, their lashes do not.
      faces: [F, 3]. ids, weights: triangles [P] and barycentrics [P, 3] of the places.
    """
    edge = jnp.asarray(_lid_edges())[faces]
    corners = vertices[faces]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    rise, climb = edge[:, 1] - edge[:, 0], edge[:, 2] - edge[:, 0]
    a, b, c = (jnp.sum(x * y, -1) for x, y in ((one, one), (one, two), (two, two)))
    slope = (c * rise**2 - 2 * b * rise * climb + a * climb**2) / jnp.maximum(a * c - b**2, 1e-20)
    width = 1.0 / jnp.sqrt(jnp.maximum(slope, 1e-6))  # metres from the edge to where the triangle ends
    # A triangle has one width; given at each of its corners one look finds both.
    near, width = at_points(jnp.stack([edge, jnp.tile(width[:, None], 3)], -1), ids, weights).T
    away = (1.0 - near) * width
    return 1.0 - (1.0 - _LASH) * smoothstep(away, *_LASHES)


def _strands(point: np.ndarray) -> np.ndarray:
    """Noise [P] of variance 1 that runs from the crown down at points [P, 3] of the template."""
    axis = np.array(_CROWN)
    middle = np.array([0.0, 0.03, -0.02])
    along = (point - middle) @ axis
    flat = point - middle - along[:, None] * axis
    side = np.cross(axis, [1.0, 0, 0])
    turn = np.arctan2(flat @ side, flat[:, 0]) / (2 * np.pi) + 0.5
    draw = np.random.default_rng(0)
    total = np.zeros(len(point))
    for often, share in ((1.0, 0.7), (2.3, 0.5)):
        count, length = int(often * _STRANDS[0]), _STRANDS[1]
        table = draw.normal(size=(count, 64))
        rows = turn * count + 1.5 * np.sin(along * 90.0)
        total += share * ndimage.map_coordinates(table, [rows, along / length], order=1, mode="grid-wrap")
    return (total / total.std()).astype(np.float32)


def detailed(guess: texture_prior.Guess, seen: Seen, model: FlameModel) -> texture_prior.Guess:
    """The guess with a texture of SIZE x SIZE texels. `seen` is what the portrait saw of `model`."""
    at, faces = jax.tree.map(jnp.asarray, _places()), jnp.asarray(model.faces)
    moved, still = jnp.ones(len(model.template)), jnp.zeros(len(faces))  # so that lids' rims are not trusted
    own, trust = carried(seen, model, Surface(still, moved, at.ids, at.weights, at.skin))
    known, below = trust * at.skin, at.height < _CLOTHES[0]
    raised = jnp.linalg.norm(at_vertices(guess.offset, faces, len(model.template)), axis=-1)
    hair = smoothstep(jnp.sum(raised[faces[at.ids]] * at.weights, 1), *_HAIR) * at.skin * ~below

    large = (SIZE, SIZE, 3)
    rgb, clad = _edged(jax.image.resize(guess.texture, large, "linear").reshape(-1, 3), at)
    smooth = jax.image.resize(_blurred(guess.texture), large, "linear").reshape(-1, 3)
    depth = _spread(jnp.log(_lightness(own) / _lightness(rgb)), known * hair)
    depth = jnp.minimum(_DEPTH[0] * depth, _DEPTH[1])  # deep waves are no strands
    rgb = rgb * jnp.exp(depth * hair * at.strands)[:, None]
    rgb = _round(rgb, own, known * below * clad, at, smooth, clad)
    row, column = texture_prior.texels(SIZE).nearest
    return guess._replace(texture=jnp.clip(rgb, 0.0, 1.0).reshape(large)[row, column])


def _edged(rgb: Array, at: _Places) -> tuple[Array, Array]:
    """Colours [P, 3] in which skin becomes clothes at an edge: the prior mixes the two over centimetres.

    And what is clothes below the neck [P], 0 to 1; 1 where they are too like the skin to tell.
    """

    def around(weight: Array) -> Array:
        """The mean colour [P, 3] under weights [P], sector by sector."""
        sums = jax.ops.segment_sum(
            jnp.concatenate([rgb, jnp.ones_like(rgb[:, :1])], 1) * weight[:, None], at.sector, _SECTORS
        )
        away = (jnp.arange(_SECTORS)[:, None] - jnp.arange(_SECTORS) + _SECTORS // 2) % _SECTORS
        near = jnp.exp(-0.5 * ((away - _SECTORS // 2) / 1.5) ** 2) @ sums
        return (near[:, :3] / jnp.maximum(near[:, 3:], 1e-6))[at.sector]

    bare = around(at.skin * (at.height < _BARE[0]) * (at.height > _BARE[1]))
    change = around(at.skin * (at.height < _CLAD)) - bare
    size = jnp.linalg.norm(change, axis=-1)
    share = jnp.clip(jnp.sum((rgb - bare) * change, -1) / jnp.maximum(size, 1e-3) ** 2, 0.0, 1.0)
    clad = smoothstep(share, *_EDGE)
    sure = smoothstep(size, *_CONTRAST)
    moved = sure * (at.height < _BARE[1]) * at.skin * (clad - share)
    return rgb + moved[:, None] * change, 1.0 - sure * (1.0 - clad)


def _blurred(texture: Array) -> Array:
    """A texture [S, S, 3] without what is finer than some texels."""
    at = jnp.arange(len(texture))
    near = jnp.exp(-0.5 * ((at[:, None] - at) / 3.0) ** 2)
    near = near / jnp.sum(near, -1, keepdims=True)
    return jnp.einsum("ij,jkc,lk->ilc", near, texture, near, precision="highest")


def _lightness(rgb: Array) -> Array:
    return jnp.mean(rgb, -1) + 0.03


def _spread(values: Array, weight: Array) -> Array:
    """Standard deviation of values [P] under weights [P]; 0 where there are none."""
    total = jnp.maximum(jnp.sum(weight), 1e-6)
    mean = jnp.sum(weight * values) / total
    return jnp.sqrt(jnp.sum(weight * (values - mean) ** 2) / total)


def _round(rgb: Array, own: Array, known: Array, at: _Places, smooth: Array, clad: Array) -> Array:
    """Colours [P, 3] with those of clothes all around that the portrait shows, as `known` [P] says, in front.

    `clad` [P] says where there are clothes. What lies at a height is alike all around; where places from left
    to right explain more of what is seen, as with stripes that run down, what lies there is alike in front
    and behind. Lightness follows the prior's, `smooth` [P, 3], since light does not go round.
    """
    below = _CLOTHES[1] - _REACH
    across = _lines((at.height - below) / _BIN, own, smooth, known, _COUNT, _BROAD)
    down = _lines((at.aside + _WIDE) / _BIN, own, smooth, known, int(2 * _WIDE / _BIN), 2 * _BROAD)
    left = [jnp.sum(known[:, None] * (own - found.fine) ** 2) for found in (across, down)]
    runs_down = smoothstep(left[0] / jnp.maximum(left[1], 1e-6), *_RUNS_DOWN)
    for found, share in ((across, 1.0 - runs_down), (down, runs_down)):
        light = jnp.clip(_lightness(smooth) / _lightness(found.light), 0.5, 1.5)[:, None]
        off = jnp.linalg.norm(found.broad * light - smooth, axis=-1) / _AGREES
        sure = share * found.enough / (1.0 + off**2) * smoothstep(at.height, *_CLOTHES) * clad
        rgb = rgb + sure[:, None] * (found.fine * light - rgb)
    return rgb


class _Lines(NamedTuple):
    """What is seen of clothes along one direction, at P places."""

    fine: Array  # [P, 3] colours of a millimetre
    broad: Array  # [P, 3] of centimetres
    light: Array  # [P, 3] the prior's colours where those are from
    enough: Array  # [P] 0..1: how much was seen


def _lines(place: Array, own: Array, smooth: Array, known: Array, count: int, broad: float) -> _Lines:
    """Means of what is `known` in `count` bins, and about so many of them; `place` [P] counts in bins."""
    index = jnp.clip(place, 0, count - 1).astype(jnp.int32)
    values = jnp.concatenate([own, smooth, jnp.ones_like(own[:, :1])], -1) * known[:, None]
    sums = jax.ops.segment_sum(values, index, count)
    away = jnp.arange(count)[:, None] - jnp.arange(count)
    lines, enough = [], jnp.zeros(count)
    for width in (broad, 0.7):
        near = jnp.exp(-0.5 * (away / width) ** 2) @ sums
        mean = near[:, :6] / jnp.maximum(near[:, 6:], 1e-6)
        lines.append(jnp.stack([jnp.interp(place - 0.5, jnp.arange(count), c) for c in mean.T], -1))
        enough = near[:, 6] / (near[:, 6] + 20.0)
    return _Lines(lines[1][:, :3], lines[0][:, :3], lines[0][:, 3:], enough[index])
