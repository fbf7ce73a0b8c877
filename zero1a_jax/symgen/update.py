"""One step of the avatar on dataset frames: ordinary reconstruction, no gradient through the diffusion."""

from __future__ import annotations

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
    loss = (
        config.l1_weight * l1
        + config.perceptual_weight * likeness
        + config.position_weight * position
        + config.scale_weight * scale
    )
    error = jnp.maximum(jnp.mean(jnp.square(image.rgb - target)), 1e-10)
    psnr = -10.0 * jnp.log10(error)
    zero = jnp.zeros(())
    metrics = Metrics(loss, l1, likeness, position, scale, psnr, zero, image.overflow, jnp.array(True))
    return loss, (jax.lax.stop_gradient(metrics), jax.lax.stop_gradient(image))


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
    """One Adam step on a batch, and the statistics for density control.

    A step whose loss or gradient is not finite changes nothing but the step count. A step in which the
    raster overflowed changes nothing at all: the caller grows the raster and repeats it.

    Args:
      state: the same on every device.
      batch: this device's share of the global batch.
      model, renderer, perceptual, stored_background, config: see `example_loss`.
      axis_name: name of the device axis to sum over, or None on one device.
    """
    avatar = state.avatar
    sums = jax.tree.map(jnp.zeros_like, avatar.gaussians)
    statistics = zero_statistics(avatar.alive.shape[0])
    offset = jnp.zeros((avatar.alive.shape[0], 2), jnp.float32)
    height, width = batch.camera.height, batch.camera.width

    def one(carry, example):
        sums, statistics = carry
        (_, (metrics, image)), (gradient, screen) = jax.value_and_grad(example_loss, (0, 1), has_aux=True)(
            avatar.gaussians,
            offset,
            example,
            avatar,
            model,
            renderer=renderer,
            perceptual=perceptual,
            stored_background=stored_background,
            config=config,
        )
        weight = example.weight
        sums = jax.tree.map(lambda total, part: total + weight * part, sums, gradient)
        counted = image.radii * (weight > 0)
        statistics = accumulate(statistics, screen, counted, height=height, width=width)
        return (sums, statistics), metrics

    (sums, statistics), each = jax.lax.scan(one, (sums, statistics), batch)
    weighted = jax.tree.map(lambda x: jnp.sum(x * batch.weight), each.replace(overflow=0.0, finite=0.0))
    total = jnp.sum(batch.weight)
    overflow = jnp.max(jnp.where(batch.weight > 0, each.overflow, 0))
    if axis_name is not None:
        sums, weighted, total = jax.lax.psum((sums, weighted, total), axis_name)
        added, seen = jax.lax.psum((statistics.gradient_sum, statistics.seen), axis_name)
        statistics = Statistics(added, seen, jax.lax.pmax(statistics.largest_radius, axis_name))
        overflow = jax.lax.pmax(overflow, axis_name)
    total = jnp.maximum(total, 1e-8)
    gradient = jax.tree.map(lambda x: x / total, sums)
    norm = optax.tree.norm(gradient)
    means = jax.tree.map(lambda x: x / total, weighted)
    finite = jnp.isfinite(norm) & jnp.isfinite(means.loss)
    metrics = means.replace(gradient=norm, overflow=overflow, finite=finite)
    stepped = _step(state, gradient, statistics, config)
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
