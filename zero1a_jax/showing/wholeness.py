"""Whether an avatar is whole and still: holes within the head's silhouette, and flicker while it moves."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import synthetic
from zero1a_jax.flame import forward, frame_target, procedural_head
from zero1a_jax.geometry import project, resize, zbuffer
from zero1a_jax.image import ops
from zero1a_jax.showing import playback, poses
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.sources.synthetic_portrait import person
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

OPAQUE = 0.98  # alpha from which a pixel is covered
_FINE = 3  # samples of the mesh along each side of a pixel
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
    rendered = playback.render(avatar, model, shots.flame, shots.cameras, background=np.ones(3))
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


def text(found: dict[str, Any], restlessness: float) -> str:
    """What `holes` and `flicker` found, as two lines."""
    whole = f"{100 * found['covered']:.2f} % of the head's silhouette"
    worst = f"{100 * found['covered_least']:.2f} % in the worst view ({found['covered_where']})"
    return f"alpha {OPAQUE:g} on {whole}, {worst}\nflicker {restlessness:.2f} times the truth's"


@jax.jit
def _inside(model: FlameModel, flame: FlameParams, camera: Camera) -> Array:
    """Which pixels [H, W] lie wholly within the mesh's silhouette."""
    fine = resize(camera, camera.height * _FINE, camera.width * _FINE)
    pixels, depth = project(fine, forward(model, flame)[0])
    ids, _, _ = zbuffer(pixels, depth, jnp.asarray(model.faces), fine.height, fine.width)
    return jnp.all((ids >= 0).reshape(camera.height, _FINE, camera.width, _FINE), (1, 3))


def flicker(loaded: Loaded, seed: int, *, size: int = 128, supersample: int = 3) -> float:
    """How restless an avatar's frames are, over the truth's: 1 is as still, more flickers.

    Both do what `poses.expressions` asks, FADE frames each, over white; see `restless`. `seed` is that of the
    synthetic person that the avatar shows, who decides which pixels count.
    """
    model = procedural_head()
    shape, look = person(seed)
    asked = poses.expressions(model, frame_target(model, shape), size, frames=FADE)
    target = frame_target(loaded.model, jnp.asarray(loaded.avatar.shape))
    own = poses.expressions(loaded.model, target, size, frames=FADE, arkit=loaded.arkit)
    frames = playback.render(loaded.avatar, loaded.model, own.flame, own.cameras, background=np.ones(3))
    draw = jax.jit(synthetic.render, static_argnames="supersample")
    truth, cover = [], []
    for k in range(len(asked.flame.jaw)):
        flame, camera = jax.tree.map(lambda x, k=k: jnp.asarray(x)[k], (asked.flame, asked.cameras))
        rgb, alpha = draw(model, look, flame.replace(shape=shape), camera, supersample=supersample)
        truth.append(np.asarray(ops.composite(rgb, alpha, jnp.ones(3))))
        cover.append(np.asarray(alpha) > 0.5)
    cover = np.stack(cover)
    return restless(np.stack([rgb for rgb, _ in frames]), cover) / restless(np.stack(truth), cover)


def restless(frames: np.ndarray, cover: np.ndarray) -> float:
    """Root mean square of what frames [T, H, W, 3] differ from the mean of their neighbours in time.

    Pixels count that `cover` [T, H, W] bool marks in a frame and both its neighbours.
    """
    off = frames[1:-1] - 0.5 * (frames[:-2] + frames[2:])
    chosen = cover[1:-1] & cover[:-2] & cover[2:]
    return float(np.sqrt(np.mean(np.square(off[chosen], dtype=np.float64))))
