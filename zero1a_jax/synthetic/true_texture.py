"""The true texture of a synthetic person: colour and place of what covers each texel of the head."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.flame.model import zero_params
from zero1a_jax.flame.procedural import procedural_head
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.image import srgb
from zero1a_jax.synthetic.figure import dress
from zero1a_jax.synthetic.identities import Look
from zero1a_jax.synthetic.render import fields, surface_of, tone
from zero1a_jax.synthetic.shade import shade
from zero1a_jax.synthetic.wardrobe import CURTAIN_U, CURTAIN_V, HAIR, SKIN, Wardrobe, wardrobe
from zero1a_jax.types import Array, FlameModel

_UNROLLED = 160  # pixels a side of the hanging hair, unrolled around the head's axis
_TALL = (-0.30, 0.20)  # metres above the axis' origin that are unrolled


def true_texture(model: FlameModel, look: Look, shape: Array, texels: Any) -> tuple[Array, Array, Array]:
    """What covers the resting head at each texel.

    Args:
      model: the embedded head. look, shape: the person.
      texels: face_ids [S, S] and weights [S, S, 3] of the texels.

    Returns:
      rgb [S, S, 3] in 0..1 (sRGB) as seen from right before it, offset [S, S, 3] in metres from the skin to
      the shell of hair, beard or clothes or to the hanging hair, and whether there is mesh [S, S].
    """
    fixed = wardrobe(model)
    wear, model = jax.tree.map(jnp.asarray, (fixed, model))
    params = zero_params(model).replace(shape=shape)
    vertices, normals, canonical, thickness = dress(wear, model, look, params)
    table = jnp.concatenate(
        [vertices, canonical, normals, thickness[:, None], fields(wear, model, look, len(vertices))], -1
    )
    ids = np.maximum(texels.face_ids.reshape(-1), 0)
    weights = jnp.asarray(texels.weights.reshape(-1, 3))
    shell_corners, shell_face = _shell(fixed, procedural_head())
    head = _mixed(table, procedural_head().faces[ids], weights)
    shell = _mixed(table, shell_corners[ids], weights)
    covered = (shell_face[ids] >= 0) & (shell[:, 9] > 0)
    surface = jnp.where(covered[:, None], shell, head)
    material = jnp.where(covered, fixed.material[np.maximum(shell_face[ids], 0)], fixed.material[ids])
    skin = fixed.material[ids] == SKIN

    hanging, there = _hanging(wear, table, surface[:, :3])
    out = there & skin & (look.curtain[0] > 0)
    surface = jnp.where(out[:, None], hanging, surface)
    material = jnp.where(out, HAIR, material)
    seen = surface_of(surface[:, 3:], surface[:, 6:9], material.astype(jnp.int32))
    rgb = srgb(jnp.clip(tone(shade(wear, look, seen)), 0, 1))
    size = texels.face_ids.shape
    valid = texels.face_ids >= 0
    offset = (surface[:, :3] - head[:, :3]).reshape(*size, 3)
    return rgb.reshape(*size, 3), offset, jnp.asarray(valid, jnp.float32)


def _mixed(table: Array, corners: Array, weights: Array) -> Array:
    """The rows of triangles' corners [P, 3] mixed by weights [P, 3]."""
    return (table[corners] * weights[..., None]).sum(1)


def _shell(wear: Wardrobe, model: FlameModel) -> tuple[np.ndarray, np.ndarray]:
    """For each of the head's triangles the vertices [F, 3] of the shell's over it, and its index or -1."""
    faces, shell = np.asarray(model.faces), np.asarray(wear.shell)
    over = np.full(len(model.template), -1)
    over[shell] = len(model.template) + np.arange(len(shell))
    index = {tuple(row): i for i, row in enumerate(np.asarray(wear.faces).tolist())}
    found = np.array([index.get(tuple(row), -1) for row in over[faces].tolist()])
    return np.where(found[:, None] >= 0, over[faces], 0), found


def _hanging(wear: Wardrobe, table: Array, points: Array) -> tuple[Array, Array]:
    """The hanging hair's outer side right outside of points [P, 3]: rows of the table, and if any is."""
    start = len(wear.azimuth) + len(wear.shell)  # after the head and the shell, see `dress`
    count = CURTAIN_U * 2 * CURTAIN_V
    grid = np.arange(count).reshape(CURTAIN_U, 2 * CURTAIN_V)[:, :CURTAIN_V]
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[:-1, 1:], grid[1:, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    faces = np.concatenate([faces, faces[:, ::-1]])  # unrolled, either side may turn to the front
    rows = table[start : start + count]
    pixels, radius = _unroll(wear, rows[:, :3])
    ids, weights, _ = zbuffer(pixels, 1.0 - radius, faces.astype(np.int32), _UNROLLED, _UNROLLED)
    at, own = _unroll(wear, points)
    cell = jnp.clip(at.astype(jnp.int32), 0, _UNROLLED - 1)
    ids, weights = ids[cell[:, 1], cell[:, 0]], weights[cell[:, 1], cell[:, 0]]
    hit = _mixed(rows, jnp.asarray(faces)[jnp.maximum(ids, 0)], weights)
    return hit, (ids >= 0) & (_unroll(wear, hit[:, :3])[1] > own + 0.001)


def _unroll(wear: Wardrobe, points: Array) -> tuple[Array, Array]:
    """Azimuth (0 = back) and height as pixels [P, 2], and metres from the head's axis [P]."""
    away = points - wear.axis
    azimuth = jnp.arctan2(-away[:, 0], -away[:, 2])
    low, high = _TALL
    x = (azimuth / (2 * jnp.pi) + 0.5) * _UNROLLED
    y = (high - away[:, 1]) / (high - low) * _UNROLLED
    return jnp.stack([x, y], -1), jnp.sqrt(away[:, 0] ** 2 + away[:, 2] ** 2)
