"""Whether an avatar is whole, still and consistent: holes, flicker while it moves, change between views."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.flame import forward, frame_target, procedural_head
from zero1a_jax.geometry import project, resize, zbuffer
from zero1a_jax.measuring import evaluation, heldout, surface
from zero1a_jax.measuring.evaluation import Picture, Shown
from zero1a_jax.showing import playback, poses
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.sources.synthetic_portrait import person
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

OPAQUE = 0.98  # alpha from which a pixel is covered
_FINE = 3  # samples of the mesh along each side of a pixel
TRUTH = 2  # samples of the truth along each side of a pixel
FADE = 12  # frames in which an expression comes and goes


def holes(loaded: Loaded, *, size: int = 128) -> dict[str, Any]:
    """How much of the head's silhouette an avatar covers, in all of `poses.SHOWN` from all sides.

    Returns:
      `covered`: share, over all views, of the pixels wholly within the mesh's silhouette whose alpha is at
      least OPAQUE; `covered_least`: that of the worst view; `covered_where`: its name.
    """
    model, avatar = loaded.model, loaded.avatar
    target = frame_target(model, jnp.asarray(avatar.shape))
    shots = poses.sheet(model, target, size, arkit=loaded.arkit)
    rendered = playback.shown(loaded, shots.flame, shots.cameras, background=np.ones(3))
    inside, opaque = [], []
    for k, (_, alpha) in enumerate(rendered):
        flame, camera = jax.tree.map(lambda x, k=k: jnp.asarray(x)[k], (shots.flame, shots.cameras))
        mesh = np.asarray(_inside(model, flame.replace(shape=jnp.asarray(avatar.shape)), camera))
        inside.append(mesh.sum())
        opaque.append((mesh & (alpha >= OPAQUE)).sum())
    share = np.array(opaque) / np.maximum(inside, 1)
    worst = int(share.argmin())
    name, yaw = poses.SHOWN[worst // len(poses.SHEET_YAWS)][0], worst % len(poses.SHEET_YAWS)
    return {
        "covered": float(np.sum(opaque) / max(np.sum(inside), 1)),
        "covered_least": float(share[worst]),
        "covered_where": f"{name}, {poses.SHEET_YAWS[yaw]}",
    }


def text(found: dict[str, Any]) -> str:
    """What `holes`, `flicker` and `inconsistency` found, a line each."""
    whole = f"{100 * found['covered']:.2f} % of the head's silhouette"
    worst = f"{100 * found['covered_least']:.2f} % in the worst view ({found['covered_where']})"
    lines = [f"alpha {OPAQUE:g} on {whole}, {worst}"]
    for name, what in (("flicker", "flicker"), ("inconsistency", "change of colour between views")):
        if name in found:
            lines.append(f"{what} {found[name]:.2f} times the truth's")
    return "\n".join(lines)


@jax.jit
def _inside(model: FlameModel, flame: FlameParams, camera: Camera) -> Array:
    """Which pixels [H, W] lie wholly within the mesh's silhouette."""
    fine = resize(camera, camera.height * _FINE, camera.width * _FINE)
    pixels, depth = project(fine, forward(model, flame)[0])
    ids, _, _ = zbuffer(pixels, depth, jnp.asarray(model.faces), fine.height, fine.width)
    return jnp.all((ids >= 0).reshape(camera.height, _FINE, camera.width, _FINE), (1, 3))


def flicker(loaded: Loaded, seed: int, *, size: int = 128) -> float:
    """How restless an avatar's surface is while it moves, over the truth's: 1 is as still, more flickers.

    Both do what `poses.expressions` asks, FADE frames each; see `surface.unrest`. `seed` is that of the
    synthetic person that the avatar shows.
    """
    model, shape = loaded.model, jnp.asarray(loaded.avatar.shape)
    own = poses.expressions(model, frame_target(model, shape), size, frames=FADE, arkit=loaded.arkit)
    frames = playback.shown(loaded, own.flame, own.cameras, background=np.ones(3))
    return surface.unrest(*_colours(model, own.flame, shape, own.cameras, frames)) / _true_unrest(seed, size)


@functools.lru_cache(maxsize=64)
def _true_unrest(seed: int, size: int) -> float:
    model = procedural_head()
    shape, _ = person(seed)
    asked = poses.expressions(model, frame_target(model, shape), size, frames=FADE)
    truth = evaluation.true_pictures(seed, asked.flame, asked.cameras, TRUTH)
    return surface.unrest(*_colours(model, asked.flame, shape, asked.cameras, truth))


def inconsistency(shown: Shown, seed: int, *, pairs: int = heldout.COUNT, size: int = 128) -> float:
    """How much the surface's colours change between the held-out pairs, over the truth's: 1 is as consistent.

    See `surface.spread`. What is blurred changes less, so that sharpness belongs beside it.
    """
    chosen = range(pairs)
    asked = evaluation.asked(shown, seed, chosen, size)
    frames = shown.images(chosen, asked.own_flame, asked.own_cameras)
    ours = _colours(shown.model, asked.own_flame, shown.shape, asked.own_cameras, frames)
    return surface.spread(*ours) / _true_spread(seed, pairs, size)


@functools.lru_cache(maxsize=64)
def _true_spread(seed: int, pairs: int, size: int) -> float:
    model = procedural_head()
    shape, _ = person(seed)
    asked = evaluation.asked(None, seed, range(pairs), size)
    truth = evaluation.true_pictures(seed, asked.flame, asked.cameras, TRUTH)
    return surface.spread(*_colours(model, asked.flame, shape, asked.cameras, truth))


def _colours(
    model: FlameModel, flame: FlameParams, shape: Array, cameras: Camera, pictures: Iterable[Picture]
) -> tuple[np.ndarray, np.ndarray]:
    """`surface.colours` of poses [K] of a head with this shape, and which faces are seen."""
    found = []
    for k, (image, _) in enumerate(pictures):
        pose, camera = jax.tree.map(lambda x, k=k: jnp.asarray(x)[k], (flame, cameras))
        found.append(
            surface.colours(model, pose.replace(shape=jnp.asarray(shape)), camera, jnp.asarray(image))
        )
    return np.stack([c for c, _ in found]), np.stack([s for _, s in found])
