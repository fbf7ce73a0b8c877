"""One step of the avatar on dataset frames: ordinary reconstruction, no gradient through the diffusion."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct

from zero1a_jax.avatar import Statistics, accumulate, pose, position_loss, scale_loss, zero_statistics
from zero1a_jax.config import Update
from zero1a_jax.symgen.optimizer import as_tree, learning_rates, optimizer
from zero1a_jax.types import Array, Avatar, Camera, FlameModel, FlameParams, Gaussians, Render, State

Perceptual = Callable[[Array, Array], Array]


@struct.dataclass
class Batch:
    """B (sample, frame) pairs. Padding has weight 0 and counts for nothing."""

    rgb: Array  # [B, H, W, 3] uint8, over the dataset's background
    alpha: Array  # [B, H, W] uint8
    camera: Camera  # [B]
    flame: FlameParams  # [B]
    background: Array  # [B, 3], the colour that the pair is compared over
    weight: Array  # [B]


@struct.dataclass
class Metrics:
    """Means over the batch, all devices together; scalars."""

    loss: Array
    l1: Array
    perceptual: Array
    position: Array
    scale: Array
    psnr: Array  # dB, whole frame, over the pair's background
    gradient: Array  # global norm of the gradient
    overflow: Array  # int32: intersections that the raster lost; not 0 means the step was not taken
    finite: Array  # bool: False means the step was skipped


def init_state(avatar: Avatar) -> State:
    """The state before the first step of an avatar with capacity N."""
    count = avatar.alive.shape[0]
    return State(
        step=jnp.zeros((), jnp.int32),
        avatar=jax.tree.map(jnp.asarray, avatar),
        optimizer=optimizer().init(as_tree(avatar.gaussians)),
        gradient_sum=jnp.zeros(count, jnp.float32),
        seen=jnp.zeros(count, jnp.float32),
        largest_radius=jnp.zeros(count, jnp.float32),
    )


def target_over(rgb: Array, alpha: Array, stored: Array, background: Array) -> Array:
    """A dataset frame [H, W, 3] over another background: rgb over `stored` becomes rgb over `background`.

    `rgb` and `alpha` are uint8; the result is in 0..1. What the matte calls background becomes exactly
    `background`, so that a generated frame's smudges beside the head are not learned.
    """
    rgb, alpha = rgb.astype(jnp.float32) / 255.0, alpha.astype(jnp.float32)[..., None] / 255.0
    colour = jnp.clip(rgb - stored * (1.0 - alpha), 0.0, alpha)  # premultiplied
    return colour + background * (1.0 - alpha)


def example_loss(
    gaussians: Gaussians,
    screen_offset: Array,
    example: Batch,
    avatar: Avatar,
    model: FlameModel,
    pull: Array | None = None,
    *,
    renderer: Callable[..., Render],
    perceptual: Perceptual,
    stored_background: Array,
    config: Update,
) -> tuple[Array, tuple[Metrics, Render]]:
    """`10 L1 + 10 perceptual + 0.1 L_pos + 10 L_scale` of one pair (docs/method.md), weights from `config`.

    Args:
      gaussians: the avatar's, what is learned. screen_offset: [N, 2] zeros.
      example: a Batch without leading axis.
      avatar, model: what the Gaussians are bound to.
      pull: [H, W, 3], the gradient with respect to the rendered colours that takes the frame's place where
        the example's weight is 0 (score distillation); None: there is none.
      renderer: `renderer(gaussians, camera, background=, screen_offset=) -> Render`.
      perceptual: `perceptual(image, target)`, both [H, W, 3] in 0..1, to a scalar.
      stored_background: [3], what the dataset's frames lie over.
    """
    current = avatar.replace(gaussians=gaussians)
    posed = pose(current, model, example.flame)
    image = renderer(posed, example.camera, background=example.background, screen_offset=screen_offset)
    target = target_over(example.rgb, example.alpha, stored_background, example.background)
    l1 = jnp.mean(jnp.abs(image.rgb - target))
    likeness = perceptual(image.rgb, target)
    position = position_loss(current, image.radii)
    scale = scale_loss(current, image.radii)
    frame = config.l1_weight * l1 + config.perceptual_weight * likeness
    if pull is not None:
        frame = example.weight * frame + jnp.sum(pull * image.rgb)
    loss = frame + config.position_weight * position + config.scale_weight * scale
    error = jnp.maximum(jnp.mean(jnp.square(image.rgb - target)), 1e-10)
    psnr = -10.0 * jnp.log10(error)
    zero = jnp.zeros(())
    metrics = Metrics(loss, l1, likeness, position, scale, psnr, zero, image.overflow, jnp.array(True))
    return loss, (jax.lax.stop_gradient(metrics), jax.lax.stop_gradient(image))


@struct.dataclass
class Part:
    """What one pair gives to a step, or several together."""

    gradient: Gaussians  # sum
    metrics: Metrics  # sums; overflow and finite are 0
    statistics: Statistics  # its radii: the largest
    overflow: Array  # int32: the largest
    count: Array  # of pairs


def part_of(
    avatar: Avatar,
    example: Batch,
    model: FlameModel,
    pull: Array | None = None,
    *,
    renderer: Callable[..., Render],
    perceptual: Perceptual,
    stored_background: Array,
    config: Update,
) -> Part:
    """The part of one pair; without a pull, whatever its weight. Arguments: see `example_loss`."""
    slots = avatar.alive.shape[0]
    (_, (metrics, image)), (gradient, screen) = jax.value_and_grad(example_loss, (0, 1), has_aux=True)(
        avatar.gaussians,
        jnp.zeros((slots, 2), jnp.float32),
        example,
        avatar,
        model,
        pull,
        renderer=renderer,
        perceptual=perceptual,
        stored_background=stored_background,
        config=config,
    )
    height, width = example.camera.height, example.camera.width
    statistics = accumulate(zero_statistics(slots), screen, image.radii, height=height, width=width)
    plain = metrics.replace(overflow=jnp.zeros(()), finite=jnp.zeros(()))
    return Part(gradient, plain, statistics, metrics.overflow, jnp.ones(()))


def step(state: State, parts: Part, config: Update) -> tuple[State, Metrics]:
    """One Adam step on the parts [B] of a batch, added in their order; what it does is `update`'s."""
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), parts)
    total, _ = jax.lax.scan(lambda total, part: (_added(total, part), None), nothing, parts)
    return _taken(state, total, config)


def update(
    state: State,
    batch: Batch,
    model: FlameModel,
    *,
    renderer: Callable[..., Render],
    perceptual: Perceptual,
    stored_background: Array,
    config: Update,
    axis_name: str | None = None,
) -> tuple[State, Metrics]:
    """One Adam step on a batch, and the statistics for density control, as one program.

    The order of its sums depends on how devices split the batch; that of `step` does not.
    A step whose loss or gradient is not finite changes nothing but the step count. A step in which the
    raster overflowed changes nothing at all: the caller grows the raster and repeats it.

    Args:
      state: the same on every device.
      batch: this device's share of the global batch.
      model, renderer, perceptual, stored_background, config: see `example_loss`.
      axis_name: name of the device axis to sum over, or None on one device.
    """
    part = functools.partial(
        part_of,
        renderer=renderer,
        perceptual=perceptual,
        stored_background=stored_background,
        config=config,
    )

    def one(total: Part, example: Batch) -> tuple[Part, None]:
        return _added(total, _weighted(part(state.avatar, example, model), example.weight)), None

    example = jax.tree.map(lambda leaf: leaf[0], batch)
    shapes = jax.eval_shape(part, state.avatar, example, model)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = jax.lax.scan(one, nothing, batch)
    if axis_name is not None:
        over = {"axis_name": axis_name}
        total = _joined(
            functools.partial(jax.lax.psum, **over), functools.partial(jax.lax.pmax, **over), total
        )
    return _taken(state, total, config)


def _added(one: Part, other: Part) -> Part:
    return _joined(jnp.add, jnp.maximum, one, other)


def _joined(add: Callable[..., Array], larger: Callable[..., Array], *parts: Part) -> Part:
    """What parts give together, where `add` and `larger` join an array of each."""
    total = jax.tree.map(add, *parts)
    radius = larger(*(part.statistics.largest_radius for part in parts))
    overflow = larger(*(part.overflow for part in parts))
    return total.replace(statistics=total.statistics.replace(largest_radius=radius), overflow=overflow)


def _weighted(part: Part, weight: Array) -> Part:
    """A part that counts `weight` times in the means; with weight 0 it counts for nothing."""
    part = jax.tree.map(lambda leaf: jnp.where(weight > 0, leaf, jnp.zeros_like(leaf)), part)
    means = (part.gradient, part.metrics, part.count)
    gradient, metrics, count = jax.tree.map(lambda leaf: weight * leaf, means)
    return part.replace(gradient=gradient, metrics=metrics, count=count)


def _taken(state: State, total: Part, config: Update) -> tuple[State, Metrics]:
    """The state after a step along the mean gradient, and the metrics' means."""
    count = jnp.maximum(total.count, 1e-8)
    gradient, means = jax.tree.map(lambda leaf: leaf / count, (total.gradient, total.metrics))
    norm, overflow = optax.tree.norm(gradient), total.overflow
    finite = jnp.isfinite(norm) & jnp.isfinite(means.loss)
    metrics = means.replace(gradient=norm, overflow=overflow, finite=finite)
    stepped = _step(state, gradient, total.statistics, config)
    skipped = state.replace(step=state.step + 1)
    chosen = jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, skipped)
    chosen = jax.tree.map(lambda new, old: jnp.where(overflow > 0, old, new), chosen, state)
    return chosen, metrics


def _step(state: State, gradient: Gaussians, statistics: Statistics, config: Update) -> State:
    """The state after an Adam step along `gradient`, with the statistics added."""
    avatar = state.avatar
    rates = learning_rates(state.step, config, avatar.gaussians.sh.shape[1])
    direction, adam = optimizer().update(as_tree(gradient), state.optimizer)
    alive = avatar.alive

    def moved(value, change, rate):
        mask = alive.reshape(-1, *[1] * (value.ndim - 1))
        return jnp.where(mask, value - rate * change, value)

    gaussians = jax.tree.map(moved, avatar.gaussians, direction, rates)
    return State(
        step=state.step + 1,
        avatar=avatar.replace(gaussians=gaussians),
        optimizer=adam,
        gradient_sum=state.gradient_sum + statistics.gradient_sum,
        seen=state.seen + statistics.seen,
        largest_radius=jnp.maximum(state.largest_radius, statistics.largest_radius),
    )
