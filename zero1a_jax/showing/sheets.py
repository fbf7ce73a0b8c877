"""Contact sheets of avatars with the truth beside them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import synthetic
from zero1a_jax.flame import frame_target, procedural_head
from zero1a_jax.image import ops
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.showing import playback, poses
from zero1a_jax.sources import avatars, synthetic_portrait
from zero1a_jax.types import Array, FlameModel

SIZE = 192
YAWS = (-60.0, -30.0, 0.0, 30.0, 60.0)
EXPRESSIONS = (0, 1, 2, 3)  # of poses.SHOWN: neutral, closed eyes, open mouth, smile


def turned(seed: int, folders: Mapping[str, Path]) -> list[np.ndarray]:
    """Rows [SIZE, W, 3] uint8 of one person, the truth, then each avatar: YAWS neutral, then EXPRESSIONS."""
    model = procedural_head()
    shape, look = synthetic_portrait.person(seed)
    views = _views(model, frame_target(model, shape))
    flame = views.flame.replace(shape=jnp.broadcast_to(shape, (len(views.flame.jaw), len(shape))))
    draw = jax.jit(functools.partial(synthetic.render, supersample=2))
    frames = []
    for k in range(len(views.flame.jaw)):
        rgb, alpha = draw(model, look, *jax.tree.map(lambda x, k=k: x[k], (flame, views.cameras)))
        frames.append(as_uint8(np.asarray(ops.composite(rgb, alpha, jnp.ones(3)))))
    rows = [np.concatenate(frames, 1)]
    for folder in folders.values():
        loaded = avatars.load(folder)
        own = _views(loaded.model, frame_target(loaded.model, loaded.avatar.shape))
        rendered = playback.shown(loaded, own.flame, own.cameras, background=np.ones(3))
        rows.append(np.concatenate([as_uint8(rgb) for rgb, _ in rendered], 1))
    return rows


def _views(model: FlameModel, target: Array) -> poses.Shots:
    neutral = [poses.expression(model, 0)] * len(YAWS)
    shown = [poses.expression(model, index) for index in EXPRESSIONS]
    flame = jax.tree.map(lambda *leaves: jnp.stack(leaves), *neutral, *shown)
    yaw = np.array([*YAWS, *([20.0] * len(EXPRESSIONS))], np.float32)
    return poses.shots(model, target, SIZE, yaw, np.zeros(len(yaw)), flame)
