"""What the portrait does not show of a head, guessed by a small network in texture space. [D]

The portrait's colours are laid onto the head's texture, with how far each is to be trusted, beside their
mirror image; a U-Net that was trained on synthetic people (`pretraining.texture`) fills the rest, and tells
how far hair, collar and hanging hair stand off the mesh. It belongs to the embedded head: others have other
textures.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from flax import traverse_util
from safetensors.numpy import load_file, save_file

from zero1a_jax.avatar.colours import bilinear, nearest_depth, part_ids, sample_visible, smoothstep
from zero1a_jax.avatar.outline import CLOTHES, fit_outline
from zero1a_jax.avatar.retouch import matched
from zero1a_jax.flame.model import forward, shaped_template
from zero1a_jax.flame.procedural import procedural_head
from zero1a_jax.geometry.cameras import project
from zero1a_jax.geometry.meshes import face_normals, triangle_frames, vertex_normals
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.types import Array, Avatar, FlameModel, Portrait

ndimage: Any = scipy.ndimage  # its own annotations mislead type checkers
WEIGHTS = pathlib.Path(__file__).parents[1] / "assets" / "texture_prior.safetensors"
SIZE = 128  # texels, a side
REACH = 0.04  # metres; offsets are given in this unit
BESIDE = (0.010, 0.028)  # metres off the mesh at which the portrait is looked at too
CHANNELS = 4 + 5 * len(BESIDE)
THUMBNAIL = 32  # pixels a side of the whole portrait, as the network sees it
_RADIUS = 0.08  # metres, of a head: what stands off by as much is twice as wide
_NOISE = (0.0005, 0.002)  # metres: offsets of bare skin are noise, and would open lids and lips
_GROWN = (1.08, 0.0015)  # times as far and metres more: hair that falls short shows what is behind it
_ROUND = (0.15, 4.0, 0.15)  # how much more a metre counts there: a stripe goes round at one height
_TWINS = {"right_ear": (-0.14, 0.0), "right_eyeball": (-0.14, 0.0), "teeth_lower": (0.0, 0.06)}
_LID_REACH = 3.0  # texels from which lids take their colour
# sRGB of pocket, tongue and teeth, by their numbers in `part_ids`, right behind the lips and at the back
_MOUTHS = {1: ((0.34, 0.12, 0.11), (0.09, 0.03, 0.03)), 2: ((0.58, 0.28, 0.27), (0.22, 0.09, 0.09))}
_MOUTHS[3] = ((0.84, 0.81, 0.75), (0.40, 0.37, 0.33))
_MOUTH_DEPTH = (0.078, 0.050)  # metres along z: lips, and where it is dark
_MOUTH_SHARE = 0.5  # of those; the rest is the network's
_WIDTHS = (48, 64, 96, 128)


class Texels(NamedTuple):
    """Where each of S x S texels lies on a mesh with texture coordinates."""

    face_ids: np.ndarray  # [S, S] int32, -1 where there is no mesh
    weights: np.ndarray  # [S, S, 3] barycentric
    places: np.ndarray  # [F, 2] texel coordinates (x, y) of the triangles' centroids
    corners: np.ndarray  # [U, 2] those of the texture's own vertices
    nearest: np.ndarray  # [2, S, S] row and column of the nearest texel with mesh
    large: np.ndarray  # [F] bool: triangles on the largest island, the head's and neck's skin


class Guess(NamedTuple):
    """What the network says of each triangle, and of each texel."""

    rgb: Array  # [F, 3] in 0..1
    offset: Array  # [F, 3] metres off the mesh, in the triangles' frames
    texture: Array  # [S, S, 3], the colours as they were said, carried on beyond the islands' rims


@functools.cache
def texels(size: int = SIZE) -> Texels:
    """Those of the embedded head, `size` a side."""
    with jax.ensure_compile_time_eval():
        model = procedural_head()
        uv = _drawn(model)
        pixels = np.stack([uv[:, 0], 1.0 - uv[:, 1]], -1).astype(np.float32) * size
        face_ids, weights, _ = jax.jit(zbuffer, static_argnums=(3, 4))(
            pixels, np.ones(len(uv), np.float32), np.asarray(model.uv_faces), size, size
        )
        face_ids, places = np.asarray(face_ids), pixels[np.asarray(model.uv_faces)].mean(1)
        nearest = ndimage.distance_transform_edt(face_ids < 0, return_distances=False, return_indices=True)
        islands, _ = ndimage.label(face_ids >= 0)
        islands = islands[tuple(nearest)]
        column, row = np.clip(places.astype(int), 0, size - 1).T
        large = islands[row, column] == np.bincount(islands.ravel()).argmax()
        return Texels(face_ids, np.asarray(weights), places, pixels, nearest, large)


def _drawn(model: FlameModel) -> np.ndarray:
    """Texture coordinates [U, 2] with the islands of _TWINS moved onto those of left ear, left eyeball and
    upper teeth: their own turn their backs, so that nothing is ever drawn or learned there."""
    uv, uv_faces = np.array(model.uv), np.asarray(model.uv_faces)
    for name, step in _TWINS.items():
        member = np.asarray((model.masks or {})[name])[np.asarray(model.faces)].all(1)
        uv[np.unique(uv_faces[member])] += step
    return uv


def is_embedded(model: FlameModel) -> bool:
    """Whether a head has the embedded one's triangles."""
    embedded = procedural_head()
    return model.faces.shape == embedded.faces.shape and model.template.shape == embedded.template.shape


def unwrap(portrait: Portrait, vertices: Array, faces: Array, *, nearest: Array) -> Array:
    """The portrait on the texture, [SIZE, SIZE, CHANNELS] in 0..1; `nearest` is `nearest_depth`'s.

    Colours times trust, and trust; and for each distance of BESIDE, where that far off the surface the
    portrait shows something beside the mesh: its colours times alpha, alpha, and 1.
    """
    at = texels()
    ids = jnp.maximum(at.face_ids.reshape(-1), 0)
    member = (at.face_ids.reshape(-1) >= 0).astype(jnp.float32)
    weights = at.weights.reshape(-1, 3, 1)
    points = jnp.sum(vertices[faces[ids]] * weights, 1)
    rgb, trust = sample_visible(portrait, vertices, faces, points, ids, nearest=nearest)
    trust = trust * member
    layers = [rgb * trust[:, None], trust[:, None]]
    normals = face_normals(vertices, faces)[ids]
    image = jnp.concatenate([portrait.rgb * portrait.alpha[..., None], portrait.alpha[..., None]], -1)
    for distance in BESIDE:
        pixels, _ = project(portrait.camera, points + distance * normals)
        size = jnp.array([portrait.camera.width, portrait.camera.height])
        inside = jnp.all((pixels >= 0) & (pixels < size), -1)
        column, row = jnp.clip(pixels.astype(jnp.int32), 0, size - 1).T
        beside = (inside & jnp.isinf(nearest[row, column])).astype(jnp.float32) * member
        layers += [bilinear(image, pixels) * beside[:, None], beside[:, None]]
    return jnp.concatenate(layers, -1).reshape(SIZE, SIZE, CHANNELS)


def thumbnail(portrait: Portrait) -> Array:
    """The portrait [THUMBNAIL, THUMBNAIL, 4]: colours times alpha, and alpha."""
    image = jnp.concatenate([portrait.rgb * portrait.alpha[..., None], portrait.alpha[..., None]], -1)
    return jax.image.resize(image, (THUMBNAIL, THUMBNAIL, 4), "linear")


@functools.cache
def _places() -> np.ndarray:
    """Position and normal of every texel on the template, [SIZE, SIZE, 6], about -1..1."""
    with jax.ensure_compile_time_eval():
        model, at = procedural_head(), texels()
        faces, vertices = np.asarray(model.faces), np.asarray(model.template)
        normals = np.asarray(jax.jit(vertex_normals)(vertices, faces))
        corners = faces[np.maximum(at.face_ids, 0)]
        both = np.concatenate([8.0 * vertices, normals], -1)[corners]
        return (both * at.weights[..., None]).sum(2) * (at.face_ids >= 0)[..., None]


class TexturePrior(nn.Module):
    """Textures [B, SIZE, SIZE, CHANNELS] and thumbnails -> [B, SIZE, SIZE, 6]: colours and offsets."""

    @nn.compact
    def __call__(self, textures: Array, thumbnails: Array) -> Array:
        batch = len(textures)
        places = jnp.broadcast_to(_places(), (batch, SIZE, SIZE, 6))
        mirrored = textures[:, :, ::-1]
        x = jnp.concatenate([2 * textures - 1, 2 * mirrored - 1, places], -1)
        x = nn.Conv(_WIDTHS[0], (2, 2), (2, 2), name="fold")(x)
        seen = nn.gelu(nn.Conv(32, (4, 4), (4, 4), name="look_1")(2 * thumbnails - 1))
        seen = nn.gelu(nn.Dense(_WIDTHS[-1], name="look_2")(seen.reshape(batch, -1)))
        skips = []
        for level, width in enumerate(_WIDTHS):
            if level:
                x = nn.Conv(width, (2, 2), (2, 2), name=f"down_{level}")(x)
            x = _block(x, f"in_{level}")
            skips.append(x)
        x = x + nn.Dense(_WIDTHS[-1], name="look_3")(seen)[:, None, None]
        x = _block(x, "middle")
        for level in reversed(range(len(_WIDTHS) - 1)):
            width = _WIDTHS[level]
            x = nn.Dense(width, name=f"up_{level}")(x)
            x = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
            tint = nn.Dense(width, name=f"tint_{level}")(seen)[:, None, None]
            x = _block(x + skips[level] + tint, f"out_{level}")
        x = nn.ConvTranspose(6, (4, 4), (2, 2), name="unfold")(nn.gelu(x))
        return jnp.concatenate([nn.sigmoid(x[..., :3]), 0.5 * x[..., 3:]], -1)


def _block(x: Array, name: str) -> Array:
    """A residual block of two convolutions."""
    width = x.shape[-1]
    y = nn.GroupNorm(8, name=f"{name}_norm")(x)
    y = nn.Conv(width, (3, 3), name=f"{name}_a")(nn.gelu(y))
    return x + nn.Conv(width, (3, 3), name=f"{name}_b")(nn.gelu(y))


def guess(params: Any, model: FlameModel, portrait: Portrait) -> Guess:
    """What the head looks like where the portrait hides it. `model` has the embedded head's triangles."""
    faces = jnp.asarray(model.faces)
    vertices, _ = forward(model, portrait.flame)
    nearest = nearest_depth(portrait.camera, vertices, faces)
    texture = unwrap(portrait, vertices, faces, nearest=nearest)
    made = TexturePrior().apply({"params": params}, texture[None], thumbnail(portrait)[None])[0]
    values = bilinear(made, jnp.asarray(texels().places))
    centroids = jnp.mean(vertices[faces], 1)
    visible = functools.partial(sample_visible, portrait, vertices, faces, nearest=nearest)
    colours, rgb = _retouched(made[..., :3], values[:, :3], texture, lambda ids: visible(centroids[ids], ids))
    _, rotation, _ = triangle_frames(shaped_template(model, portrait.flame.shape), faces)
    off = jnp.where(part_ids(model)[:, None] > 0, 0.0, REACH * values[:, 3:])
    length = jnp.maximum(jnp.linalg.norm(off, axis=-1, keepdims=True), 1e-6)
    off = off * smoothstep(length, *_NOISE) * (_GROWN[0] + _GROWN[1] / length)
    offset = jnp.einsum("fji,fj->fi", rotation, off, precision="highest")
    offset = fit_outline(offset, model, portrait)
    row, column = texels().nearest
    return Guess(rgb, offset, colours[row, column])


def _retouched(
    colours: Array, rgb: Array, texture: Array, visible: Callable[[Array], tuple[Array, Array]]
) -> tuple[Array, Array]:
    """The network's colours of texels [SIZE, SIZE, 3] and triangles [F, 3], corrected by the portrait's.

    `visible` gives the portrait's colours at triangles [N], and trust, see `sample_visible`.
    """
    at, model = texels(), procedural_head()
    # Parts of their own, such as teeth, are of no material that the portrait shows much of.
    with jax.ensure_compile_time_eval():
        own_part = np.asarray(part_ids(model)) > 0
    valid = np.flatnonzero((at.face_ids >= 0) & ~own_part[np.maximum(at.face_ids, 0)])
    small = np.flatnonzero(~at.large & ~own_part)
    centres = np.asarray(model.template)[np.asarray(model.faces)[small]].mean(1)
    places = np.concatenate([_places().reshape(-1, 6)[valid, :3] / 8.0, centres])
    places = np.where(places[:, 1:2] < CLOTHES, places * _ROUND, places).astype(np.float32)
    own, sure = visible(small)
    known = texture.reshape(-1, CHANNELS)[valid]
    trust = jnp.concatenate([known[:, 3], sure])
    shown = jnp.concatenate([known[:, :3] / jnp.maximum(known[:, 3:4], 1e-3), own])
    # Every other texel tells enough, and comparing all with all takes time.
    source = np.concatenate([np.flatnonzero((valid + valid // SIZE) % 2), len(valid) + np.arange(len(small))])
    mixed = jnp.concatenate([colours.reshape(-1, 3)[valid], rgb[small]])
    found = matched(mixed, jnp.asarray(places), shown, trust, source)
    colours = colours.reshape(-1, 3).at[valid].set(found[: len(valid)]).reshape(colours.shape)
    colours = _without_eyes(colours)
    rgb = bilinear(colours, jnp.asarray(at.places)).at[small].set(found[len(valid) :])
    usual, share = _mouth()
    return colours, rgb + share * (usual - rgb)


@functools.cache
def _mouth() -> tuple[np.ndarray, np.ndarray]:
    """Usual colours [F, 3] of the mouth's inside, which hardly any portrait shows, and their share [F, 1]."""
    with jax.ensure_compile_time_eval():
        model = procedural_head()
        part = np.asarray(part_ids(model))
        depth = np.asarray(model.template)[np.asarray(model.faces)].mean(1)[:, 2]
        deep = np.asarray(smoothstep(jnp.asarray(depth), *_MOUTH_DEPTH))[:, None]
    usual = np.zeros((len(part), 3), np.float32)
    for number, (front, back) in _MOUTHS.items():
        own = (1 - deep) * np.array(front) + deep * np.array(back)
        usual = np.where((part == number)[:, None], own, usual)
    return usual, _MOUTH_SHARE * np.isin(part, list(_MOUTHS))[:, None]


def _without_eyes(colours: Array) -> Array:
    """Lids, a few texels wide, in the colour of the skin around: the network gives them some of the eyes'."""
    lids = jnp.asarray(_lids())[..., None]
    around = jnp.concatenate([colours * (1.0 - lids), 1.0 - lids], -1)
    at = jnp.arange(SIZE)
    near = jnp.exp(-0.5 * ((at[:, None] - at) / _LID_REACH) ** 2)
    around = jnp.einsum("ij,jkc,lk->ilc", near, around, near, precision="highest")
    return colours + lids * (around[..., :3] / jnp.maximum(around[..., 3:], 1e-9) - colours)


@functools.cache
def _lids() -> np.ndarray:
    """Which texels [SIZE, SIZE] are lids, or what they open on: 1 there, fading to 0 around."""
    model, corners = procedural_head(), texels().corners
    found = np.zeros((SIZE, SIZE), bool)
    row, column = np.mgrid[:SIZE, :SIZE] + 0.5
    for name in ("left_eyelids", "right_eyelids"):
        member = np.asarray((model.masks or {})[name])[np.asarray(model.faces)].all(1)
        rim = corners[np.asarray(model.uv_faces)[member].ravel()]
        (left, top), (right, bottom) = rim.min(0), rim.max(0)
        x, y = (column - (left + right) / 2) / (right - left), (row - (top + bottom) / 2) / (bottom - top)
        found |= np.hypot(x, y) < 0.5
    return ndimage.gaussian_filter(ndimage.binary_dilation(found).astype(np.float32), 0.7)


def stand_off(avatar: Avatar, model: FlameModel, offset: Array) -> Avatar:
    """The avatar with its surface moved by `offset` [F, 3], and grown with it so that it stays closed."""
    _, _, scale = triangle_frames(shaped_template(model, avatar.shape), jnp.asarray(model.faces))
    ids, gaussians = avatar.face_ids, avatar.gaussians
    grown = jnp.log1p(jnp.linalg.norm(offset, axis=-1) / _RADIUS)
    return avatar.replace(
        gaussians=gaussians.replace(
            means=gaussians.means + (offset / scale[:, None])[ids],
            log_scales=gaussians.log_scales + grown[ids, None],
        )
    )


@functools.cache
def load_prior(file: pathlib.Path = WEIGHTS) -> dict:
    """The weights of a file, else the shipped ones, float32."""
    flat = {tuple(name.split("/")): tensor.astype(np.float32) for name, tensor in load_file(file).items()}
    return traverse_util.unflatten_dict(flat)


def save_prior(params: Any, file: pathlib.Path) -> None:
    """Writes weights as float16 safetensors."""
    flat = traverse_util.flatten_dict(params, sep="/")
    save_file({name: np.ascontiguousarray(leaf, np.float16) for name, leaf in flat.items()}, file)
