"""An exported avatar, loaded with its head and rendered along a sequence."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import heads
from zero1a_jax import avatar as avatar_room
from zero1a_jax import outputs, rasterizer
from zero1a_jax.types import ArkitMap, Array, Avatar, Camera, FlameModel, FlameParams

SLOTS = 4096  # avatars are padded to a multiple of it, so that those of a table share their programs
CHUNK = 8  # frames of one call

_pose = jax.jit(avatar_room.pose)


class Loaded(NamedTuple):
    """What an export folder holds, ready to be posed."""

    avatar: Avatar
    model: FlameModel
    meta: dict[str, Any]
    arkit: ArkitMap | None  # for a head without ARKit names


def load(folder: str | Path, flame: str = "", arkit: str = "") -> Loaded:
    """Reads an export folder, or the folder of a finished run, with the head that it was made on.

    `flame` is the folder of a FLAME model; without it the head is the embedded one. `arkit` is the user's
    own table for it, see heads.arkit.

    Raises:
      FileNotFoundError: no export there. ValueError: damaged, or made on another head.
    """
    folder = Path(folder)
    if (folder / "export").is_dir():
        folder = folder / "export"
    avatar, meta = outputs.load_avatar(folder)
    model = heads.load(flame)
    outputs.check_model(avatar, meta, model)
    return Loaded(padded(avatar), model, meta, heads.arkit(model, arkit))


def padded(avatar: Avatar) -> Avatar:
    """The avatar with dead Gaussians added up to a multiple of SLOTS."""
    count = len(np.asarray(avatar.alive))
    extra = -count % SLOTS
    grown = jax.tree.map(
        lambda x: np.concatenate([x, np.repeat(np.asarray(x)[:1], extra, 0)]), avatar.gaussians
    )
    return dataclasses.replace(
        avatar,
        gaussians=grown,
        face_ids=np.concatenate([avatar.face_ids, np.zeros(extra, np.int32)]),
        alive=np.concatenate([avatar.alive, np.zeros(extra, bool)]),
    )


def render(
    avatar: Avatar, model: FlameModel, flame: FlameParams, cameras: Camera, *, background: Array
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Renders frames one by one.

    Args:
      avatar: the avatar; its own identity is used, whatever `flame` says.
      model: its head.
      flame: [T]. cameras: [T], of one size.
      background: [3] in 0..1.

    Yields:
      (rgb [H, W, 3] in 0..1, alpha [H, W]) of each frame, float32.
    """
    count = len(np.asarray(flame.jaw))
    middle = jax.tree.map(lambda x: jnp.asarray(x)[count // 2], flame)
    posed = _pose(avatar, model, middle)
    sample = jax.tree.map(lambda x: jnp.asarray(x)[:: max(1, count // 8)], cameras)
    capacity = rasterizer.suggest_capacity(posed, sample, antialiased=True, margin=1.5)
    for start in range(0, count, CHUNK):
        # The last frame fills the last chunk, so that one program serves all.
        index = np.minimum(np.arange(start, start + CHUNK), count - 1)
        part = jax.tree.map(lambda x, i=index: jnp.asarray(x)[i], (flame, cameras))
        while True:
            rgb, alpha, overflow = _chunk(avatar, model, *part, jnp.asarray(background), capacity=capacity)
            if int(overflow) == 0:
                break
            capacity *= 2
        for k in range(min(CHUNK, count - start)):
            yield np.asarray(rgb[k]), np.asarray(alpha[k])


@functools.partial(jax.jit, static_argnames=("capacity",))
def _chunk(
    avatar: Avatar,
    model: FlameModel,
    flame: FlameParams,
    cameras: Camera,
    background: jax.Array,
    *,
    capacity: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    def frame(item: tuple[FlameParams, Camera]) -> tuple[Array, Array, Array]:
        gaussians = avatar_room.pose(avatar, model, item[0])
        image = rasterizer.render(
            gaussians, item[1], background=background, capacity=capacity, antialiased=True
        )
        return image.rgb, image.alpha, image.overflow

    rgb, alpha, overflow = jax.lax.map(frame, (flame, cameras))
    return jnp.clip(rgb, 0, 1), alpha, overflow.max()


def pose_function(loaded: Loaded) -> Callable[[FlameParams], Any]:
    """The jitted params -> Gaussians of the viewer; the dead are left out."""
    alive = np.asarray(loaded.avatar.alive)

    def pose(params: FlameParams) -> Any:
        posed = _pose(loaded.avatar, loaded.model, params)
        return jax.tree.map(lambda x: np.asarray(x)[alive], posed)

    return pose
