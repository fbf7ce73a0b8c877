"""The views and expressions that a finished avatar is shown in: turntable, expressions, contact sheet."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.flame import with_arkit, zero_params
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.types import ArkitMap, Array, Camera, FlameModel, FlameParams

# Name, ARKit weights, jaw rotation in radians for heads that know nothing of ARKit.
SHOWN: tuple[tuple[str, dict[str, float], float], ...] = (
    ("neutral", {}, 0.0),
    ("blink", {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, 0.0),
    ("mouth open", {"jawOpen": 0.8}, 0.25),
    ("smile", {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9}, 0.0),
    ("pucker", {"mouthPucker": 0.9}, 0.0),
    ("brows", {"browInnerUp": 0.9, "browOuterUpLeft": 0.7, "browOuterUpRight": 0.7}, 0.0),
    ("frown", {"browDownLeft": 0.9, "browDownRight": 0.9, "mouthFrownLeft": 0.7, "mouthFrownRight": 0.7}, 0),
)
SHEET_YAWS = (-60, -30, 0, 30, 60)


class Shots(NamedTuple):
    """Frames to render: cameras and parameters [K]."""

    cameras: Camera
    flame: FlameParams


def expression(model: FlameModel, index: int, arkit: ArkitMap | None = None) -> FlameParams:
    """Entry `index` of SHOWN for this head, which needs `arkit` if it has no ARKit names; no leading axes."""
    _, weights, jaw = SHOWN[index]
    known = names_of(model, arkit)
    if known:
        params = from_arkit(model, {name: w for name, w in weights.items() if name in known}, arkit)
    else:
        params = zero_params(model)
    if arkit is None and "jawOpen" not in known:
        params = params.replace(jaw=jnp.array([jaw, 0.0, 0.0], jnp.float32))
    return params


def names_of(model: FlameModel, arkit: ArkitMap | None) -> tuple[str, ...]:
    """The ARKit shapes that move this head, by its own names or through `arkit`."""
    return model.expression_names if arkit is None else arkit.names


def from_arkit(model: FlameModel, weights: dict[str, float], arkit: ArkitMap | None = None) -> FlameParams:
    """ARKit weights by name as parameters of this head, without leading axes.

    Raises:
      Refused: a shape that does not move this head.
    """
    params, names = zero_params(model), names_of(model, arkit)
    unknown = [name for name in weights if name not in names]
    if unknown:
        known = ", ".join(names) or "none, since its expressions have no names"
        raise Refused(f"the head {model.version} has no shape {unknown[0]}; it has {known}")
    values = np.zeros(len(names), np.float32)
    for name, weight in weights.items():
        values[names.index(name)] = weight
    if arkit is not None:
        return with_arkit(params, arkit, values)
    return params.replace(expression=jnp.asarray(values)) if names else params


def shots(model: FlameModel, target: Array, size: int, yaw: Array, pitch: Array, flame: FlameParams) -> Shots:
    """Canonical cameras at yaw and pitch [K] in degrees, and parameters [K]."""
    cameras = portrait_camera(target, jnp.radians(jnp.asarray(yaw)), jnp.radians(jnp.asarray(pitch)), size)
    return Shots(cameras, flame)


def turntable(model: FlameModel, target: Array, size: int, *, frames: int = 60, reach: float = 75.0) -> Shots:
    """The neutral head seen from one side to the other and back; yaw in degrees."""
    yaw = reach * np.sin(2 * np.pi * np.arange(frames) / frames)
    flame = _stack([expression(model, 0)] * frames)
    return shots(model, target, size, yaw, np.zeros(frames), flame)


def expressions(
    model: FlameModel, target: Array, size: int, *, frames: int = 20, arkit: ArkitMap | None = None
) -> Shots:
    """Every expression of SHOWN fades in and out, `frames` each, while the head sways; then the eyes turn."""
    fade = np.sin(np.pi * np.arange(frames) / frames) ** 0.7
    sequence = []
    for index in range(1, len(SHOWN)):
        full = expression(model, index, arkit)
        sequence += [jax.tree.map(lambda x, w=w: x * float(w), full) for w in fade]
    neutral = expression(model, 0)
    for turn in np.sin(2 * np.pi * np.arange(frames) / frames):
        gaze = jnp.broadcast_to(jnp.array([0.0, 0.35 * turn, 0.0]), (2, 3))
        sequence.append(neutral.replace(eyes=gaze))
    count = len(sequence)
    yaw = 18.0 * np.sin(2 * np.pi * np.arange(count) / (3 * frames))
    return shots(model, target, size, yaw, np.zeros(count), _stack(sequence))


def sheet(model: FlameModel, target: Array, size: int, *, arkit: ArkitMap | None = None) -> Shots:
    """All of SHOWN (rows) from SHEET_YAWS (columns)."""
    flame = _stack([expression(model, index, arkit) for index in range(len(SHOWN)) for _ in SHEET_YAWS])
    yaw = np.tile(np.array(SHEET_YAWS, np.float32), len(SHOWN))
    return shots(model, target, size, yaw, np.zeros(len(yaw)), flame)


def joined(parts: list[Shots]) -> Shots:
    """One list of frames; lengths are those of the parts."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _stack(params: list[FlameParams]) -> FlameParams:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
