"""The curriculum: which samples are active at a step, and what each of them shows.

Slot 0 is the portrait. Then come the spatial samples (one expression, a camera path from the front to
a side), the synthetic samples (a near-frontal camera, relaxed motion) and the real samples
(exaggerated motion). Every slot exists from step 0, so no shape ever changes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from zero1a_jax import flame as flame_room
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.synthetic import motions as motion_room
from zero1a_jax.types import ArkitMap, Array, Camera, FlameModel, FlameParams, Portrait

PORTRAIT, SPATIAL, SYNTHETIC, REAL = 0, 1, 2, 3

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


class PlanConfig(Protocol):
    """The curriculum's numbers. Steps are avatar iterations, angles are degrees."""

    @property
    def frames(self) -> int: ...
    @property
    def spatial_samples(self) -> int: ...
    @property
    def synthetic_samples(self) -> int: ...
    @property
    def real_samples(self) -> int: ...
    @property
    def view_interval(self) -> int: ...
    @property
    def synthetic_start(self) -> int: ...
    @property
    def real_start(self) -> int: ...
    @property
    def progressive(self) -> bool: ...
    @property
    def spatial(self) -> bool: ...
    @property
    def temporal(self) -> bool: ...
    @property
    def max_yaw(self) -> float: ...
    @property
    def max_pitch(self) -> float: ...
    @property
    def temporal_yaw(self) -> float: ...
    @property
    def base_intensity(self) -> float: ...
    @property
    def synthetic_intensity(self) -> float: ...
    @property
    def real_intensity(self) -> float: ...


@struct.dataclass
class Plan:
    """What the curriculum asks for at one step."""

    active: Array  # [M] bool: samples that are trained on and refreshed
    views: Array  # [M, T] int32: which entry of its sequence each frame shows
    view_limit: Array  # [] int32: j, from 1 to T


@struct.dataclass
class Samples:
    """The fixed sequences behind the M samples, built once from the seed."""

    cameras: Camera  # [M, T]
    flame: FlameParams  # [M, T]
    stage: Array  # [M] int32: PORTRAIT, SPATIAL, SYNTHETIC or REAL


def stages(config: PlanConfig) -> np.ndarray:
    """The stage of every slot, int32 [M] with M = 1 + n_s + n_syn + n_real."""
    counts = (1, config.spatial_samples, config.synthetic_samples, config.real_samples)
    return np.repeat(np.arange(4, dtype=np.int32), counts)


def plan(step: Array | int, config: PlanConfig) -> Plan:
    """The curriculum at iteration `step` (progressive learning, METHOD; Fig. 4 of the paper).

    Frame i of a spatial sample shows view min(i, j) with j = min(floor(step / view_interval) + 1, T):
    all frames are frontal at first, then the path unrolls. Frames of the other samples show their own
    entry. Synthetic samples join at `synthetic_start`, real ones at `real_start`. Without `spatial` the
    temporal stages come forward to step 0, since nothing else would be left to learn from; without
    `progressive` everything is active, and unrolled, from step 0.

    Args:
      step: [] int32, may be traced: the shapes never depend on it.
      config: the numbers; Python values.
    """
    stage = jnp.asarray(stages(config))
    step = jnp.asarray(step, jnp.int32)
    limit = jnp.minimum(step // config.view_interval + 1, config.frames)
    limit = limit if config.progressive else jnp.full_like(limit, config.frames)
    frame = jnp.arange(config.frames, dtype=jnp.int32)
    views = jnp.where((stage == SPATIAL)[:, None], jnp.minimum(frame, limit - 1), frame)
    if not config.progressive:
        starts = (0, 0, 0, 0)
    elif config.spatial:
        starts = (0, 0, config.synthetic_start, config.real_start)
    else:
        starts = (0, 0, 0, config.real_start - config.synthetic_start)
    wanted = jnp.array([True, config.spatial, config.temporal, config.temporal])[stage]
    active = wanted & (step >= jnp.array(starts, jnp.int32)[stage])
    return Plan(active=active, views=views.astype(jnp.int32), view_limit=limit)


def boundaries(config: PlanConfig, steps: int) -> tuple[int, ...]:
    """The steps below `steps` at which the plan changes, in order. Steps are iterations."""
    changes = {step for step in (config.synthetic_start, config.real_start) if config.temporal}
    if not config.spatial and config.temporal:
        changes = {config.real_start - config.synthetic_start}
    if config.spatial:
        changes |= {config.view_interval * j for j in range(1, config.frames)}
    return tuple(sorted(step for step in changes if 0 < step < steps)) if config.progressive else ()


def base_expression(
    model: FlameModel, index: int, *, intensity: float = 1.0, arkit: ArkitMap | None = None
) -> FlameParams:
    """The fixed expression of spatial sample `index`, an ARKit shape, both sides together: no leading axes.

    A head without ARKit names, such as FLAME, needs `arkit`; see `build_samples`.
    """
    params, names = flame_room.zero_params(model), shape_names(model, arkit)
    weights = np.zeros(len(names), np.float32)
    for name in BASE_EXPRESSIONS[index % len(BASE_EXPRESSIONS)]:
        if name in names:
            weights[names.index(name)] = intensity
    if arkit is not None:
        return flame_room.with_arkit(params, arkit, weights)
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


def view_paths(key: jax.Array, count: int, frames: int, config: PlanConfig) -> tuple[Array, Array]:
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
    config: PlanConfig,
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
    config: PlanConfig,
) -> tuple[Camera, FlameParams]:
    """Cameras and parameters [M, T] of all slots. One program: a thousand small ones compile for minutes."""
    frames, size = config.frames, portrait.rgb.shape[0]
    keys = jax.random.split(key, 3)
    target = flame_room.frame_target(model, portrait.flame.shape)
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
        return motion_room.sequence(key, model, frames, intensity=intensity, fps=MOTION_FPS)
    named = model.replace(expression_basis=jnp.zeros((1, 3, len(names))), expression_names=names)
    motion = motion_room.sequence(key, named, frames, intensity=intensity, fps=MOTION_FPS)
    still = flame_room.zero_params(model, (frames,)).expression
    return flame_room.with_arkit(motion.replace(expression=still), arkit, motion.expression)


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
