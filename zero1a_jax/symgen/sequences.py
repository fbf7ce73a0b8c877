"""What the samples show: a camera and a head for every frame of every slot, built once from the seed."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from zero1a_jax import synthetic
from zero1a_jax.config import Curriculum
from zero1a_jax.flame import frame_target, with_arkit, zero_params
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.symgen.curriculum import stages
from zero1a_jax.types import ArkitMap, Array, Camera, FlameModel, FlameParams, Portrait

MOTION_FPS = 7.0

# ARKit shapes of the spatial samples, the most telling first: a short list still covers mouth and eyes.
BASE_EXPRESSIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("jawOpen",),
    ("mouthSmileLeft", "mouthSmileRight"),
    ("eyeBlinkLeft", "eyeBlinkRight"),
    ("mouthPucker",),
    ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    ("mouthFunnel",),
    ("mouthFrownLeft", "mouthFrownRight"),
    ("browDownLeft", "browDownRight"),
    ("cheekPuff",),
    ("eyeWideLeft", "eyeWideRight"),
    ("mouthStretchLeft", "mouthStretchRight"),
    ("noseSneerLeft", "noseSneerRight"),
    ("eyeSquintLeft", "eyeSquintRight"),
    ("mouthLeft",),
    ("mouthRight",),
    ("jawLeft",),
    ("mouthRollLower", "mouthRollUpper"),
    ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"),
    ("jawForward",),
)


@struct.dataclass
class Samples:
    """The fixed sequences behind the M samples, built once from the seed."""

    cameras: Camera  # [M, T]
    flame: FlameParams  # [M, T]
    stage: Array  # [M] int32: PORTRAIT, SPATIAL, SYNTHETIC or REAL


def base_expression(
    model: FlameModel, index: int, *, intensity: float = 1.0, arkit: ArkitMap | None = None
) -> FlameParams:
    """The fixed expression of spatial sample `index`, an ARKit shape, both sides together: no leading axes.

    A head without ARKit names, such as FLAME, needs `arkit`; see `build_samples`.
    """
    params, names = zero_params(model), shape_names(model, arkit)
    weights = np.zeros(len(names), np.float32)
    for name in BASE_EXPRESSIONS[index % len(BASE_EXPRESSIONS)]:
        if name in names:
            weights[names.index(name)] = intensity
    if arkit is not None:
        return with_arkit(params, arkit, weights)
    return params.replace(expression=jnp.asarray(weights))


def shape_names(model: FlameModel, arkit: ArkitMap | None) -> tuple[str, ...]:
    """The ARKit names that the curriculum can speak of. Raises ValueError where there are none."""
    names = model.expression_names if arkit is None else arkit.names
    if not names:
        raise ValueError(
            f"the expressions of {model.version} have no ARKit names, in which the curriculum speaks: give "
            "build_samples the `arkit` map of drive.arkit_map"
        )
    return names


def view_paths(key: jax.Array, count: int, frames: int, config: Curriculum) -> tuple[Array, Array]:
    """Yaw and pitch in degrees, each [count, frames], of paths from the front to a random side view.

    Sides alternate and the final yaws are stratified over 40 to 100 % of `max_yaw`, so that a few
    samples already cover both sides.
    """
    key_yaw, key_pitch = jax.random.split(key)
    stratum = (jnp.arange(count) // 2 + jax.random.uniform(key_yaw, (count,))) / max((count + 1) // 2, 1)
    side = jnp.where(jnp.arange(count) % 2 == 0, 1.0, -1.0)
    yaw = side * config.max_yaw * (1.0 - 0.6 * jnp.clip(stratum, 0.0, 1.0))
    pitch = config.max_pitch * jax.random.uniform(key_pitch, (count,), minval=-1.0, maxval=1.0)
    along = jnp.linspace(0.0, 1.0, frames)
    return yaw[:, None] * along, pitch[:, None] * along


def build_samples(
    key: jax.Array,
    model: FlameModel,
    portrait: Portrait,
    config: Curriculum,
    *,
    motions: Sequence[FlameParams] = (),
    arkit: ArkitMap | None = None,
) -> Samples:
    """The sequences of all slots, on the host (numpy leaves), from one key.

    Args:
      key: a typed key.
      model: the head.
      portrait: gives slot 0, the identity and the frame size.
      config: the numbers; hashable, as frozen dataclasses are.
      motions: sequences [L] for the real slots, taken in turn; too short ones run back and forth,
        long ones give different windows. Without them the real slots get seeded, exaggerated motion.
      arkit: for a head whose expressions have no ARKit names: what those shapes ask of it, so that relaxed
        and exaggerated mean the same on every head.

    Raises:
      ValueError: a head without ARKit names and no `arkit`.
    """
    made = jax.jit(_sequences, static_argnames="config")(
        key, model, portrait, tuple(motions), arkit, config=config
    )
    cameras, flame = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), made)
    return Samples(cameras=cameras, flame=flame, stage=stages(config))


def _sequences(
    key: jax.Array,
    model: FlameModel,
    portrait: Portrait,
    motions: tuple[FlameParams, ...],
    arkit: ArkitMap | None,
    config: Curriculum,
) -> tuple[Camera, FlameParams]:
    """Cameras and parameters [M, T] of all slots. One program: a thousand small ones compile for minutes."""
    frames, size = config.frames, portrait.rgb.shape[0]
    keys = jax.random.split(key, 3)
    target = frame_target(model, portrait.flame.shape)
    yaw, pitch = view_paths(keys[0], config.spatial_samples, frames, config)
    fixed = config.synthetic_samples + config.real_samples
    angles = jax.random.uniform(keys[1], (2, fixed, 1), minval=-1.0, maxval=1.0)
    spread = jnp.array([config.temporal_yaw, 0.5 * config.temporal_yaw])[:, None, None]
    angles = jnp.broadcast_to(angles * spread, (2, fixed, frames))
    yaw, pitch = jnp.concatenate([yaw, angles[0]]), jnp.concatenate([pitch, angles[1]])
    cameras = portrait_camera(target, jnp.radians(yaw), jnp.radians(pitch), size)

    still = [_still(portrait.flame, frames)]
    for index in range(config.spatial_samples):
        shown = base_expression(model, index, intensity=config.base_intensity, arkit=arkit)
        still.append(_still(shown, frames))
    groups = [_stacked(still)]
    from_files = config.real_samples if motions else 0
    intensity = np.repeat(
        [config.synthetic_intensity, config.real_intensity],
        [config.synthetic_samples, config.real_samples - from_files],
    )
    if len(intensity):  # one vmap: a second one would double the time to compile
        chosen = jax.random.split(keys[2], len(intensity))
        make = functools.partial(seeded_motion, model=model, frames=frames, arkit=arkit)
        groups.append(jax.vmap(lambda key, power: make(key, intensity=power))(chosen, intensity))
    if from_files:
        pairs = [(motions[i % len(motions)], i // len(motions)) for i in range(from_files)]
        groups.append(_stacked([_window(motion, turn, frames) for motion, turn in pairs]))
    flame = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *groups)
    identity = jnp.broadcast_to(jnp.asarray(portrait.flame.shape), flame.shape.shape)

    own = jax.tree.map(lambda x: jnp.broadcast_to(x, (1, frames, *jnp.shape(x))), portrait.camera)
    cameras = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), own, cameras)
    return cameras, flame.replace(shape=identity)


def seeded_motion(
    key: jax.Array,
    model: FlameModel,
    frames: int,
    *,
    intensity: Array | float,
    arkit: ArkitMap | None = None,
) -> FlameParams:
    """A motion [frames] from a key: grimaces, speech, blinks, gaze.

    A sample is short, so that its frames are MOTION_FPS a second: 16 of them last over two seconds. A head
    without ARKit names does what `arkit` says that the motion's shapes ask of it.
    """
    names = shape_names(model, arkit)
    if arkit is None:
        return synthetic.motions.sequence(key, model, frames, intensity=intensity, fps=MOTION_FPS)
    named = model.replace(expression_basis=jnp.zeros((1, 3, len(names))), expression_names=names)
    motion = synthetic.motions.sequence(key, named, frames, intensity=intensity, fps=MOTION_FPS)
    still = zero_params(model, (frames,)).expression
    return with_arkit(motion.replace(expression=still), arkit, motion.expression)


def sequence(samples: Samples, index: int, views: Array) -> tuple[Camera, FlameParams]:
    """Camera [T] and FlameParams [T] that sample `index` shows under `views` [M, T] (a plan's)."""
    chosen = np.asarray(views)[index]
    return jax.tree.map(lambda leaf: leaf[index][chosen], (samples.cameras, samples.flame))


def _stacked(params: Sequence[FlameParams]) -> FlameParams:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)


def _still(params: FlameParams, frames: int) -> FlameParams:
    return jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x), (frames, *jnp.shape(x))), params)


def _window(motion: FlameParams, turn: int, frames: int) -> FlameParams:
    """`frames` consecutive entries of a motion; reflected at the ends, later turns start later."""
    length = motion.expression.shape[0]
    positions = turn * frames + np.arange(frames)
    period = max(2 * (length - 1), 1)
    positions = positions % period
    positions = np.where(positions >= length, period - positions, positions)
    return jax.tree.map(lambda x: jnp.asarray(x)[positions], motion)
