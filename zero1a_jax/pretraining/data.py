"""The training pictures of the miniature: random synthetic people, rendered once into memory-mapped files.

A cache grows in chunks and can be extended at any time: what identity i shows depends on (seed, i) only, and
a chunk is counted in progress.json after it is on disk. Frame 0 of an identity is its portrait.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import files, flame, synthetic
from zero1a_jax.avatar import texture_prior
from zero1a_jax.diffusion import DiffusionConfig
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.image.ops import composite
from zero1a_jax.pretraining.drafts import draft
from zero1a_jax.symgen.generate import condition_images
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams, Portrait

CHUNK = 8  # identities rendered by one call


class Cache(NamedTuple):
    """Memory-mapped uint8 arrays; N identities of F frames, `count` of them rendered."""

    rgb: np.ndarray  # [N, F, H, W, 3], over white
    alpha: np.ndarray  # [N, F, H, W]
    condition: np.ndarray  # [N, F, S, S, 3]
    draft: np.ndarray  # [N, F, H, W, 3], what the portrait alone makes of the same view
    count: int


def somebody(key: jax.Array, plain: jax.Array | bool) -> tuple[jax.Array, synthetic.Look]:
    """A person: as `synthetic.identity` where plain, else a textured one in 60 % of the cases."""
    pick, person = jax.random.split(key)
    choose = jnp.logical_and(jax.random.uniform(pick) < 0.6, jnp.logical_not(plain))
    return jax.tree.map(
        functools.partial(jnp.where, choose), synthetic.textured(person), synthetic.identity(person)
    )


def portrait_view(
    key: jax.Array, model: FlameModel, shape: jax.Array, size: int
) -> tuple[FlameParams, Camera]:
    """A near-frontal, near-neutral portrait whose framing is off by millimetres, as after a real fit."""
    face, angles, shift, zoom = jax.random.split(key, 4)
    params = synthetic.motions.random_expression(face, model, 0.25).replace(shape=shape)
    yaw, pitch = jax.random.normal(angles, (2,)) * jnp.radians(jnp.array([8.0, 4.0]))
    target = flame.frame_target(model, shape) + 0.004 * jax.random.normal(shift, (3,))
    distance = 1.0 + 0.03 * jax.random.normal(zoom)
    return params, portrait_camera(target, yaw, pitch, size, distance=distance)


def target_view(key: jax.Array, model: FlameModel, shape: jax.Array, size: int) -> tuple[FlameParams, Camera]:
    """Any expression from up to 60 degrees of yaw, most within 45; canonical framing with a small error."""
    face, power, turn, wide, tilt, shift = jax.random.split(key, 6)
    params = synthetic.motions.random_expression(
        face, model, jax.random.uniform(power, (), minval=0.2, maxval=1.2)
    )
    reach = jnp.where(jax.random.uniform(wide) < 0.25, 62.0, 46.0)
    yaw = jnp.radians(jax.random.uniform(turn, (), minval=-reach, maxval=reach))
    pitch = jnp.radians(jax.random.uniform(tilt, (), minval=-15.0, maxval=15.0))
    target = flame.frame_target(model, shape) + 0.002 * jax.random.normal(shift, (3,))
    return params.replace(shape=shape), portrait_camera(target, yaw, pitch, size)


def clip_views(
    key: jax.Array, model: FlameModel, shape: jax.Array, size: int, frames: int
) -> tuple[FlameParams, Camera]:
    """A moving face under a camera that pans slowly: FlameParams [frames] and Camera [frames]."""
    face, power, start, pan, tilt = jax.random.split(key, 5)
    intensity = jax.random.uniform(power, (), minval=0.3, maxval=1.3)
    params = synthetic.motions.sequence(face, model, frames, intensity=intensity)
    yaw = jax.random.uniform(start, (), minval=-0.7, maxval=0.7)
    yaw = yaw + jnp.linspace(-0.5, 0.5, frames) * jax.random.normal(pan) * 0.4
    pitch = jnp.full(frames, jax.random.uniform(tilt, (), minval=-0.2, maxval=0.2))
    params = params.replace(shape=jnp.broadcast_to(shape, (frames, *shape.shape)))
    return params, portrait_camera(flame.frame_target(model, shape), yaw, pitch, size)


@functools.partial(jax.jit, static_argnames=("frames", "size", "condition_size", "kind", "clips"))
def render_chunk(
    key: jax.Array,
    indices: jax.Array,
    plain: jax.Array | bool,
    *,
    frames: int,
    size: int,
    condition_size: int,
    kind: str,
    clips: bool,
) -> tuple[jax.Array, ...]:
    """Identities `indices` [n] as the cache holds them, but for the drafts."""
    model = jax.tree.map(jnp.asarray, flame.procedural_head())

    def one(index: jax.Array) -> tuple[jax.Array, ...]:
        look, params, camera = views(key, index, model, plain, frames=frames, size=size, clips=clips)
        rgb, alpha = synthetic.render(model, look, params, camera)
        rgb = composite(rgb, alpha, jnp.ones(3))
        conditions = jax.lax.map(
            lambda view: condition_images(model, *view, size=condition_size, kind=kind), (params, camera)
        )
        return _bytes(rgb), _bytes(alpha), _bytes(conditions)

    return jax.lax.map(one, indices)


@functools.partial(jax.jit, static_argnames=("frames", "size", "clips"))
def draft_chunk(
    key: jax.Array,
    indices: jax.Array,
    plain: jax.Array | bool,
    prior: Any,
    rgb: jax.Array,
    alpha: jax.Array,
    *,
    frames: int,
    size: int,
    clips: bool,
) -> jax.Array:
    """Drafts of identities `indices` [n] from their portraits: rgb [n, H, W, 3], alpha [n, H, W], uint8."""
    model = jax.tree.map(jnp.asarray, flame.procedural_head())

    def one(item: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        index, rgb, alpha = item
        _, params, camera = views(key, index, model, plain, frames=frames, size=size, clips=clips)
        fit, view = jax.tree.map(lambda leaf: leaf[0], (params, camera))
        shown = Portrait(rgb / 255.0, alpha / 255.0, jnp.zeros((105, 2)), view, fit)
        return _bytes(
            draft(jax.random.fold_in(jax.random.fold_in(key, index), 1), model, prior, shown, params, camera)
        )

    return jax.lax.map(one, (indices, rgb, alpha))


def views(
    key: jax.Array,
    index: jax.Array,
    model: FlameModel,
    plain: jax.Array | bool,
    *,
    frames: int,
    size: int,
    clips: bool,
) -> tuple[synthetic.Look, FlameParams, Camera]:
    """Who identity `index` is, and its expressions and cameras [frames], the portrait's in front."""
    person, first, rest = jax.random.split(jax.random.fold_in(key, index), 3)
    shape, look = somebody(person, plain)
    portrait = portrait_view(first, model, shape, size)
    if clips:
        others = clip_views(rest, model, shape, size, frames - 1)
    else:
        others = jax.vmap(lambda k: target_view(k, model, shape, size))(jax.random.split(rest, frames - 1))
    params, camera = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), portrait, others)
    return look, params, camera


def _bytes(image: Array) -> jax.Array:
    return (jnp.clip(image, 0, 1) * 255 + 0.5).astype(jnp.uint8)


def open_cache(folder: pathlib.Path, config: DiffusionConfig, identities: int, frames: int) -> Cache:
    """The cache of a folder, made or extended to room for `identities`. Unwritten parts take no space."""
    folder.mkdir(parents=True, exist_ok=True)
    size, condition = config.frame_size, config.condition_size
    shapes = {"rgb": (size, size, 3), "alpha": (size, size), "condition": (condition, condition, 3)}
    shapes["draft"] = shapes["rgb"]
    arrays = []
    for name, shape in shapes.items():
        file, row = folder / f"{name}.u8", frames * int(np.prod(shape))
        file.touch()
        if file.stat().st_size < identities * row:
            with open(file, "r+b") as stream:
                stream.truncate(identities * row)
        rows = file.stat().st_size // row
        arrays.append(np.memmap(file, np.uint8, "r+", shape=(rows, frames, *shape)))
    return Cache(*arrays, count=_count(folder))


def _count(folder: pathlib.Path, name: str = "progress") -> int:
    file = folder / f"{name}.json"
    return json.loads(file.read_text())["count"] if file.exists() else 0


def extend(
    folder: pathlib.Path,
    config: DiffusionConfig,
    *,
    seed: int,
    identities: int,
    frames: int = 4,
    clips: bool = False,
    plain: bool = False,
) -> Cache:
    """Renders until the cache holds `identities` people. Resumes; a seed always gives the same pictures."""
    cache = open_cache(folder, config, identities, frames)
    key, start = jax.random.key(seed), cache.count
    how = {"frames": frames, "size": config.frame_size, "clips": clips}
    condition = {"condition_size": config.condition_size, "kind": config.condition}

    def pictures(indices: jax.Array) -> tuple[jax.Array, ...]:
        return render_chunk(key, indices, plain, **how, **condition)

    _fill(folder, "progress", cache[:3], start, identities, pictures)
    prior = texture_prior.load_prior()

    def drafts(indices: jax.Array) -> tuple[jax.Array, ...]:
        shown = np.minimum(np.asarray(indices), len(cache.rgb) - 1)
        portraits = cache.rgb[shown, 0], cache.alpha[shown, 0]
        return (draft_chunk(key, indices, plain, prior, *portraits, **how),)

    _fill(folder, "drafts", cache[3:4], _count(folder, "drafts"), identities, drafts)
    return cache._replace(count=max(start, identities))


def _fill(
    folder: pathlib.Path,
    name: str,
    arrays: Sequence[np.ndarray],
    start: int,
    stop: int,
    make: Callable[[jax.Array], tuple[jax.Array, ...]],
) -> None:
    """Makes identities start..stop in chunks, and counts those on the disk in `name`.json."""
    while start < stop:
        end = min(start + CHUNK, stop)
        made = make(jnp.arange(start, start + CHUNK))
        for array, part in zip(arrays, made, strict=True):
            array[start:end] = np.asarray(part)[: end - start]
            array.flush()
        start = end
        files.write_json(folder / f"{name}.json", {"count": start})
