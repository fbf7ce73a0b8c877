"""Seeded facial motion, from relaxed to exaggerated, for any head whose shapes carry ARKit's names."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.flame.model import zero_params
from zero1a_jax.types import Array, FlameModel, FlameParams

JAW_OPEN = 0.36  # radians of params.jaw that a fully open mouth takes
# Expressions as one knows them: ARKit names (both sides move unless a side is named) and their share.
_MOUTH = (
    {"mouthSmile": 1.0, "cheekSquint": 0.6, "mouthDimple": 0.3},
    {"mouthSmile": 0.7, "mouthUpperUp": 0.5, "jaw": 0.35, "eyeSquint": 0.4, "cheekSquint": 0.5},
    {"mouthFrown": 0.9, "mouthShrugLower": 0.6, "mouthPress": 0.3},
    {"mouthPucker": 1.0},
    {"mouthFunnel": 0.9, "jaw": 0.35},
    {"jaw": 1.0},
    {"mouthStretch": 0.8, "mouthLowerDown": 0.7, "jaw": 0.3},
    {"mouthUpperUp": 0.8, "noseSneer": 0.9},
    {"mouthRollLower": 0.7, "mouthRollUpper": 0.6, "mouthPress": 0.5},
    {"mouthLeft": 0.9, "mouthSmileLeft": 0.6},
    {"mouthRight": 0.9, "mouthSmileRight": 0.6},
    {"cheekPuff": 1.0, "mouthPress": 0.3},
    {"jawLeft": 0.7, "jaw": 0.25},
    {"jawRight": 0.7, "jaw": 0.25},
)
_BROWS = (
    {"browDown": 0.9, "eyeSquint": 0.4},
    {"browInnerUp": 0.9, "browOuterUp": 0.6, "eyeWide": 0.5},
    {"browInnerUp": 0.8},
    {"browOuterUpLeft": 0.8, "browDownRight": 0.5},
    {"browOuterUpRight": 0.8, "browDownLeft": 0.5},
    {"eyeWide": 0.8},
    {"eyeSquint": 0.8},
)


def _mixes(names: tuple[str, ...], groups: tuple[dict[str, float], ...]) -> np.ndarray:
    """Weights [G, E + 1]; the last column is the jaw's opening."""
    table = np.zeros((len(groups), len(names) + 1), np.float32)
    for row, group in zip(table, groups, strict=True):
        for name, weight in group.items():
            targets = [len(names)] if name == "jaw" else []
            targets += [k for k, n in enumerate(names) if n in (name, name + "Left", name + "Right")]
            row[targets] = weight
    return table


def _columns(model: FlameModel, name: str) -> np.ndarray:
    found = [k for k, n in enumerate(model.expression_names) if n in (name, name + "Left", name + "Right")]
    if not found:
        raise ValueError(f"motions need ARKit expression names; this model has no {name!r}")
    return np.array(found)


def _drift(key: Array, frames: int, count: int, period: float) -> Array:
    """Smooth noise [frames, count] of unit variance; `period` in frames is its typical time."""
    waves = 5
    one, two = jax.random.split(key)
    rate = jnp.exp(jax.random.uniform(one, (waves, count), minval=-0.9, maxval=0.5)) / period
    phase = jax.random.uniform(two, (waves, count))
    time = jnp.arange(frames)[:, None, None]
    return jnp.sin(2 * jnp.pi * (time * rate + phase)).sum(1) * (2 / waves) ** 0.5


def _blinks(key: Array, frames: int, every: float) -> Array:
    """Closure [frames] in 0..1 of quick blinks, about one in `every` frames."""
    count = max(2, int(frames / every) + 2)
    gaps = jax.random.uniform(key, (count,), minval=0.5 * every, maxval=1.5 * every)
    at = jnp.cumsum(gaps) - gaps[0] * jax.random.uniform(jax.random.fold_in(key, 1))
    away = jnp.abs(jnp.arange(frames)[:, None] - at).min(1)
    return jnp.clip(1.35 - away / 2.6, 0, 1)


def _choose(noise: Array, sharpness: float) -> Array:
    """Activations [T, G] that sum to at most one, so that contrary expressions take turns."""
    share = jax.nn.softmax(sharpness * noise, -1)
    return share * jax.nn.sigmoid(4 * (noise.max(-1, keepdims=True) - 0.9))


def sequence(
    key: Array, model: FlameModel, frames: int, *, intensity: Array | float = 1.0, fps: float = 25.0
) -> FlameParams:
    """A head that grimaces, speaks, blinks and looks around: FlameParams with leading axis [frames].

    `intensity` scales from 0 (blinks only) by 0.4 (relaxed talk) and 1 (vivid) to 1.5 (exaggerated). Left
    and right move together except in deliberately one-sided expressions. The mouth opens by params.jaw,
    gaze turns params.eyes, neck and root sway by a few degrees; shape and translation stay zero. Smooth in
    time, jittable with static `frames`. Raises ValueError for a model without ARKit's names.
    """
    keys = jax.random.split(key, 8)
    names = model.expression_names
    blink = _columns(model, "eyeBlink")
    mouth = _choose(_drift(keys[0], frames, len(_MOUTH), 1.7 * fps), 2.5)
    brows = _choose(_drift(keys[1], frames, len(_BROWS), 1.9 * fps), 2.5)
    weights = mouth @ _mixes(names, _MOUTH) + 0.9 * brows @ _mixes(names, _BROWS)
    # speech: the jaw's own quick rhythm, on and off
    talk = jnp.clip(_drift(keys[2], frames, 1, 0.5 * fps)[:, 0], 0, 2)
    talk = talk * jax.nn.sigmoid(4 * _drift(keys[3], frames, 1, 4 * fps)[:, 0])
    side = 1 + 0.10 * _drift(keys[4], frames, len(names) + 1, 2 * fps)
    weights = intensity * (weights * side).at[:, -1].add(0.18 * talk)
    gaze = 0.5 * _drift(keys[5], frames, 2, 1.5 * fps)
    pitch, yaw = 0.16 * jnp.tanh(gaze[:, 0]), 0.30 * jnp.tanh(gaze[:, 1])
    closed = jnp.maximum(_blinks(keys[6], frames, 3.2 * fps), 1.1 * jnp.clip(pitch, 0, 1))
    expression = jnp.clip(weights[:, :-1], 0, 1.2)
    expression = expression.at[:, blink].max(closed[:, None])
    sway = _drift(keys[7], frames, 6, 3 * fps) * 0.5
    jaw = JAW_OPEN * jnp.clip(weights[:, -1], 0, 1.15)
    zero = jnp.zeros(frames)
    return zero_params(model, (frames,)).replace(
        expression=expression,
        jaw=jnp.stack([jaw, zero, zero], -1),
        eyes=jnp.repeat(jnp.stack([pitch, yaw, zero], -1)[:, None], 2, 1),
        neck=sway[:, :3] * jnp.array([0.05, 0.07, 0.03]) * jnp.clip(intensity, 0.3, 1),
        rotation=sway[:, 3:] * jnp.array([0.02, 0.02, 0.012]) * jnp.clip(intensity, 0.3, 1),
    )


def random_expression(key: Array, model: FlameModel, intensity: Array | float = 1.0) -> FlameParams:
    """One random expression with gaze and a small turn of the neck: FlameParams without leading axes.

    Besides the expressions of `sequence` it switches on a few shapes at random, so that every shape is seen
    alone and in company. The mouth opens by params.jaw or by the jawOpen shape, half of the time each.
    """
    keys = jax.random.split(key, 11)
    names = model.expression_names
    blink, opened = _columns(model, "eyeBlink"), _columns(model, "jawOpen")
    uniform = jax.random.uniform
    mouth = jax.nn.one_hot(jax.random.randint(keys[0], (), 0, len(_MOUTH)), len(_MOUTH))
    brows = jax.nn.one_hot(jax.random.randint(keys[1], (), 0, len(_BROWS)), len(_BROWS))
    weights = uniform(keys[2]) * mouth @ _mixes(names, _MOUTH)
    weights = weights + uniform(keys[3]) * brows @ _mixes(names, _BROWS)
    single = uniform(keys[4], (len(names),)) * (uniform(keys[5], (len(names),)) < 0.06)
    weights = weights.at[: len(names)].add(single)
    weights = weights.at[-1].add(uniform(keys[6]) * (uniform(keys[7]) < 0.4))
    weights = intensity * weights
    pick = uniform(keys[8], (6,))
    closed = jnp.where(pick[0] < 0.15, 1.0, 0.15 * pick[1])
    jaw = jnp.clip(weights[-1], 0, 1.15)
    by_pose = pick[2] < 0.5
    expression = weights[:-1].at[blink].max(closed).at[opened].add(jnp.where(by_pose, 0.0, jaw))
    gaze = (uniform(keys[9], (2,)) - 0.5) * jnp.array([0.4, 0.8])
    turn = jax.random.normal(keys[10], (3,)) * jnp.array([0.05, 0.07, 0.03])
    return zero_params(model).replace(
        expression=jnp.clip(expression, 0, 1.2),
        jaw=jnp.stack([jnp.where(by_pose, JAW_OPEN * jaw, 0.0), jnp.zeros(()), jnp.zeros(())]),
        eyes=jnp.tile(jnp.append(gaze, 0.0), (2, 1)),
        neck=turn,
    )
