"""An avatar rendered along a sequence."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import rasterizer
from zero1a_jax.avatar import pose as pose_avatar
from zero1a_jax.avatar import pose_blurred
from zero1a_jax.geometry import resize
from zero1a_jax.sources import avatars
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Array, Avatar, Camera, FlameModel, FlameParams

CHUNK = 8  # frames of one call

_pose = jax.jit(pose_avatar)
_blurred = jax.jit(pose_blurred)


def shown(
    loaded: Loaded, flame: FlameParams, cameras: Camera, *, background: Array
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As `render`, in pictures as large as the frames that the avatar learned from look best.

    Larger ones are blurred where frames did not tell (`sources.avatars.blur_for`), smaller ones are means
    over finer pixels.
    """
    height, width = int(cameras.height), int(cameras.width)
    finer = avatars.finer_for(loaded, height)
    views, blur = cameras, avatars.blur_for(loaded, finer * height)
    if finer > 1:
        views = resize(cameras, finer * height, finer * width)
    for rgb, alpha in render(loaded.avatar, loaded.model, flame, views, background=background, blur=blur):
        parts = (height, finer, width, finer)
        yield rgb.reshape(*parts, 3).mean((1, 3)), alpha.reshape(parts).mean((1, 3))


def render(
    avatar: Avatar,
    model: FlameModel,
    flame: FlameParams,
    cameras: Camera,
    *,
    background: Array,
    blur: float = 0.0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Renders frames one by one.

    Args:
      avatar: the avatar; its own identity is used, whatever `flame` says.
      model: its head.
      flame: [T]. cameras: [T], of one size.
      background: [3] in 0..1.
      blur: metres; see `sources.avatars.blur_for`.

    Yields:
      (rgb [H, W, 3] in 0..1, alpha [H, W]) of each frame, float32.
    """
    flame, cameras = jax.tree.map(lambda x: np.asarray(jnp.asarray(x)), (flame, cameras))
    count = len(flame.jaw)
    middle = jax.tree.map(lambda x: jnp.asarray(x)[count // 2], flame)
    posed = _blurred(avatar, model, middle, blur)
    sample = jax.tree.map(lambda x: jnp.asarray(x)[:: max(1, count // 8)], cameras)
    capacity = rasterizer.suggest_capacity(posed, sample, antialiased=True, margin=1.5)
    for start in range(0, count, CHUNK):
        # The last frame fills the last chunk, so that one program serves all.
        index = np.minimum(np.arange(start, start + CHUNK), count - 1)
        part = jax.tree.map(lambda x, i=index: x[i], (flame, cameras))

        def attempt(
            room: int, part: tuple[FlameParams, Camera] = part
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            behind = jnp.asarray(background)
            rgb, alpha, overflow = _chunk(avatar, model, *part, behind, blur, capacity=room)
            return (rgb, alpha), overflow

        (rgb, alpha), capacity = rasterizer.until_fits(attempt, capacity)
        colours, covers = np.asarray(rgb), np.asarray(alpha)  # one transfer a chunk
        for k in range(min(CHUNK, count - start)):
            yield colours[k], covers[k]


@functools.partial(jax.jit, static_argnames=("capacity",))
def _chunk(
    avatar: Avatar,
    model: FlameModel,
    flame: FlameParams,
    cameras: Camera,
    background: jax.Array,
    blur: float,
    *,
    capacity: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    def frame(item: tuple[FlameParams, Camera]) -> tuple[Array, Array, Array]:
        gaussians = pose_blurred(avatar, model, item[0], blur)
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
