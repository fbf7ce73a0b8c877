"""Trains the texture prior: portraits of synthetic people, their true textures, and what stands off the mesh.

The truth is free: every texel of a person has a colour, and a place to which hair, beard, collar or hanging
hair moves it, without any picture being taken.
"""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import files, flame, synthetic
from zero1a_jax.avatar import texture_prior
from zero1a_jax.avatar.colours import nearest_depth
from zero1a_jax.avatar.texture_prior import CHANNELS, REACH, SIZE, THUMBNAIL
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.image.ops import composite
from zero1a_jax.pretraining import data, loop
from zero1a_jax.pretraining.options import TexturePrior
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams, Portrait

CHUNK = 16
MISFIT = 0.35  # standard deviations of shape, at most, by which the fit of a portrait is wrong
SHIFT = 0.003  # metres, at most, by which it stands wrong
_FILES = {
    "texture": (SIZE, SIZE, CHANNELS),
    "thumbnail": (THUMBNAIL, THUMBNAIL, 4),
    "truth": (SIZE, SIZE, 6),
    "valid": (SIZE, SIZE),
}


class Pictures(NamedTuple):
    """Memory-mapped uint8 arrays of N people."""

    texture: np.ndarray
    thumbnail: np.ndarray
    truth: np.ndarray  # colours, and offsets about 128
    valid: np.ndarray


def portrait_view(key: jax.Array, model: FlameModel, shape: Array, size: int) -> tuple[FlameParams, Camera]:
    """Any portrait that people have: mostly near-frontal and mild, a third turned and lively."""
    face, angles, shift, zoom, wild = jax.random.split(key, 5)
    lively = (jax.random.uniform(wild) < 0.35).astype(jnp.float32)
    params = synthetic.motions.random_expression(face, model, 0.25 + 0.75 * lively).replace(shape=shape)
    spread = jnp.radians(jnp.array([8.0 + 16.0 * lively, 4.0 + 4.0 * lively]))
    yaw, pitch = jax.random.normal(angles, (2,)) * spread
    target = flame.frame_target(model, shape) + 0.004 * jax.random.normal(shift, (3,))
    distance = 1.0 + 0.03 * jax.random.normal(zoom)
    return params, portrait_camera(target, yaw, pitch, size, distance=distance)


@functools.partial(jax.jit, static_argnames="size")
def render_chunk(key: jax.Array, indices: jax.Array, plain: jax.Array | bool, *, size: int) -> tuple:
    """People `indices` [n] as the files hold them."""
    model = jax.tree.map(jnp.asarray, flame.procedural_head())

    def one(index: jax.Array) -> tuple:
        person, view, miss, far = jax.random.split(jax.random.fold_in(key, index), 4)
        shape, look = data.somebody(person, plain)
        params, camera = portrait_view(view, model, shape, size)
        rgb, alpha = synthetic.render(model, look, params, camera)
        shown = Portrait(composite(rgb, alpha, jnp.ones(3)), alpha, jnp.zeros((105, 2)), camera, params)
        first, second = jax.random.split(miss)
        power = jax.random.uniform(far)
        wrong = power * MISFIT * jax.random.normal(first, shape.shape)
        vertices, _ = flame.forward(model, params.replace(shape=shape + wrong))
        vertices = vertices + power * SHIFT * jax.random.normal(second, (3,))
        faces = jnp.asarray(model.faces)
        nearest = nearest_depth(camera, vertices, faces)
        texture = texture_prior.unwrap(shown, vertices, faces, nearest=nearest)
        colours, offset, valid = synthetic.true_texture(model, look, shape, texture_prior.texels())
        truth = jnp.concatenate([colours, 0.5 + 0.5 * jnp.clip(offset / REACH, -1, 1)], -1)
        parts = (texture, texture_prior.thumbnail(shown), truth, valid)
        return tuple((jnp.clip(part, 0, 1) * 255 + 0.5).astype(jnp.uint8) for part in parts)

    return jax.lax.map(one, indices)


def extend(folder: pathlib.Path, *, seed: int, people: int, plain: bool = False, size: int = 128) -> Pictures:
    """Renders until the folder holds `people`. Resumes; a seed always gives the same."""
    folder.mkdir(parents=True, exist_ok=True)
    progress = folder / "progress.json"
    start = json.loads(progress.read_text())["count"] if progress.exists() else 0
    arrays = []
    for name, shape in _FILES.items():
        file, row = folder / f"{name}.u8", int(np.prod(shape))
        file.touch()
        if file.stat().st_size < people * row:
            with open(file, "r+b") as stream:
                stream.truncate(people * row)
        arrays.append(np.memmap(file, np.uint8, "r+", shape=(file.stat().st_size // row, *shape)))
    while start < people:
        stop = min(start + CHUNK, people)
        made = render_chunk(jax.random.key(seed), jnp.arange(start, start + CHUNK), plain, size=size)
        for array, part in zip(arrays, made, strict=True):
            array[start:stop] = np.asarray(part)[: stop - start]
        start = stop
        files.write_json(progress, {"count": start, "seed": seed})
    return Pictures(*arrays)


def loss(params: Any, batch: dict, key: jax.Array) -> tuple[Array, dict]:
    """L1 of colours, of their differences between texels, and of offsets; lighter where the portrait shows
    the surface anyway. Long hair is rare: squares keep its offsets from being the bare head's."""
    texture, thumbnail, truth, valid = (
        batch[name].astype(jnp.float32) / 255 for name in ("texture", "thumbnail", "truth", "valid")
    )
    made: Any = texture_prior.TexturePrior().apply({"params": params}, texture, thumbnail)
    weight = valid * (1.15 - texture[..., 3])
    error = made[..., :3] - truth[..., :3]
    colour = jnp.abs(error).mean(-1)
    missed = made[..., 3:] - (2 * truth[..., 3:] - 1.0)
    offset, square = jnp.abs(missed).mean(-1), jnp.square(missed).mean(-1)
    whole = valid[:, 1:, 1:] * valid[:, :-1, 1:] * valid[:, 1:, :-1]
    detail = jnp.abs(jnp.diff(error, axis=1)[:, :, 1:]) + jnp.abs(jnp.diff(error, axis=2)[:, 1:])
    sharp = jnp.sum(detail.mean(-1) * whole * weight[:, 1:, 1:]) / jnp.sum(whole * weight[:, 1:, 1:])
    total = jnp.sum(weight)
    means = [jnp.sum(part * weight) / total for part in (colour, offset, square)]
    figures = {"colour": means[0], "offset_mm": 1000 * REACH * means[1], "square": means[2], "sharp": sharp}
    return means[0] + means[1] + 4.0 * means[2] + 0.5 * sharp, figures


def run(options: TexturePrior) -> None:
    """Renders, trains, prints what it is worth on held-out people, and writes the weights."""
    folder = pathlib.Path(options.workdir)
    pictures = extend(folder / "textures", seed=options.seed, people=options.people)
    heldout = extend(folder / "heldout", seed=options.seed + 1, people=options.heldout, plain=True)
    params = train(folder, pictures, options)
    print(json.dumps(evaluate(params, heldout, options.heldout)))
    out = texture_prior.WEIGHTS if options.ship else folder / texture_prior.WEIGHTS.name
    with files.replacing(out) as unfinished:
        texture_prior.save_prior(params, unfinished)
    print(out)


def evaluate(params: Any, heldout: Pictures, people: int) -> dict[str, float]:
    """Mean errors on what portraits hide: the prior's, and those of a person's mean colour on the mesh."""
    made = jax.jit(texture_prior.TexturePrior().apply)
    sums = np.zeros(5)
    for i in range(people):
        texture, thumbnail, truth, valid = (array[i : i + 1].astype(np.float32) / 255 for array in heldout)
        guess = np.asarray(made({"params": params}, texture, thumbnail))
        trust, hidden = texture[..., 3], valid * (1 - texture[..., 3])
        mean = texture[..., :3].sum((1, 2)) / np.maximum(trust.sum((1, 2)), 1e-6)[:, None]
        offset = 2 * truth[..., 3:] - 1
        errors = (
            np.abs(guess[..., :3] - truth[..., :3]),
            np.abs(mean[:, None, None] - truth[..., :3]),
            1000 * REACH * np.abs(guess[..., 3:] - offset),
            1000 * REACH * np.abs(offset),
        )
        sums += [*(float((error.mean(-1) * hidden).sum()) for error in errors), float(hidden.sum())]
    names = ("colour", "colour_of_mean", "offset_mm", "offset_mm_of_none")
    return {name: round(float(total / sums[4]), 4) for name, total in zip(names, sums, strict=False)}


def train(folder: pathlib.Path, pictures: Pictures, options: TexturePrior) -> Any:
    """Trains on the first options.people of the pictures; returns the averaged weights."""
    seed, people = options.seed, options.people
    blank = [jnp.zeros((1, *_FILES[name])) for name in ("texture", "thumbnail")]
    if options.start:
        params = texture_prior.load_prior(pathlib.Path(options.start).expanduser())
    else:
        params = jax.jit(texture_prior.TexturePrior().init)(jax.random.key(seed), *blank)["params"]

    def batch(step: int) -> dict:
        rows = np.sort(np.random.default_rng([seed, 3, step]).integers(0, people, options.batch))
        return {name: getattr(pictures, name)[rows] for name in Pictures._fields}

    return loop.run(
        "texture", folder, params, loss, batch, steps=options.steps, peak=options.rate, seed=seed
    ).average
