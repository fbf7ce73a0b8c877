"""The compiled functions of a run. Those that rasterise are compiled once for a raster capacity.

A pair of a step and a sample of the dataset go through a program of their own, and gradients are added in the
batch's order: so the bits of a run do not depend on how many devices share its work (docs/seeds.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import keys, symgen
from zero1a_jax.avatar import density_control, reset_moments
from zero1a_jax.config import DISTILLED, Config, Density
from zero1a_jax.devices import (
    AXIS,
    gathered,
    mapped,
    on_each,
    over_frames,
    replicate,
    rounds,
    shared_frames,
    split,
)
from zero1a_jax.once import bound
from zero1a_jax.training import distillation
from zero1a_jax.training.progress import first_avatar, guessed, without_surface
from zero1a_jax.training.setup import Setup
from zero1a_jax.types import FlameModel, State

GATHERED = 10**9  # bytes of a step's gathered gradients up to which --sums=auto gathers them


class Programs:
    """Functions on all devices; every argument and result has the device axis in front, but `update`'s batch.

    With --split_frames `refresh` and `fill` take their weights and the portrait's features without it, and do
    the first sample alone.
    """

    def __init__(self, setup: Setup):
        self._setup = setup
        self._by_capacity: dict[tuple[str, int], Callable] = {}
        config, parts = setup.config, setup.parts
        refresh = bound(symgen.refresh, parts.diffusion, background=setup.background, config=config.refresh)
        self.plan = jax.jit(bound(symgen.plan, config=config.curriculum))
        self.refresh = self._refresh(refresh, from_noise=False)
        self.fill = self._refresh(refresh, from_noise=True)
        size, kind = parts.diffusion.condition_size, parts.diffusion.condition
        points = bound(symgen.condition_points, size=size, kind=kind)
        self.points = on_each(points, setup.devices)  # (model, flame [T], camera [T]) to [T, P, 2]
        self.conditions = on_each(bound(_conditions, size, kind), setup.devices)  # to [T, S, S, 3]
        score = bound(_frame_gradient, parts.diffusion, config.refresh)
        self.frame_gradient = on_each(score, setup.devices)  # to [T, H, W, 3]
        self.carry_over = self.beside = self.paint = None
        self._show_what_is_known()
        self._density = jax.jit(bound(_control_density, config=config.density))
        self._compiled_density: Callable | None = None
        self._gather = gathered(config.update.batch, setup.devices)
        self._step = on_each(bound(symgen.step, config=config.update), setup.devices, donate=(0,))

    def notes(self) -> list[str]:
        """What is to be said where this run's bits depend on how many devices there are."""
        config, found = self._setup.config, []
        if not ordered_sums(config, self._setup.parts.model):
            size = gathered_bytes(config, self._setup.parts.model) / 1e9
            found.append(
                f"plain sums: bits depend on the number of devices (--sums={config.runner.sums}; ordered "
                f"sums would gather {size:.2g} GB of gradients a step, --sums=ordered does)"
            )
        if config.runner.split_frames:
            found.append("--split_frames: bits depend on the number of devices")
        return found

    def _refresh(self, function: Callable, *, from_noise: bool) -> Callable:
        one = bound(_refreshed, function, from_noise)
        if not self._setup.config.runner.split_frames:
            return on_each(one, self._setup.devices, donate=(2, 3))
        devices = shared_frames(self._setup.config.curriculum.frames, self._setup.devices)
        together = over_frames(one, devices, split=(2, 3, 4), arguments=6)

        def first(params, reference, *sample):
            out = together(params, reference, *(leaf[0] for leaf in sample))
            return jax.tree.map(lambda leaf: leaf[None], out)

        return first

    def _show_what_is_known(self) -> None:
        """carry_over: (model, flame [T], camera [T]) to the portrait's colours [T, H, W, 3] and their trust.

        paint: those and the rgb and alpha of `beside`, what stands beside the mesh, to symgen.Painted, which
        has what carry_over gives.
        """
        config, parts, devices = self._setup.config, self._setup.parts, self._setup.devices
        portrait, model = parts.portrait, parts.model
        guess = guessed(config, model, portrait) if config.refresh.prior_share else None
        if guess is None and not config.refresh.portrait_outranks:
            return
        seen = jax.jit(symgen.seen_by)(portrait, model, None if guess is None else guess.offset)
        # What belongs to a portrait is an argument: programs then serve every portrait.
        known = replicate(seen, devices)
        if config.refresh.portrait_outranks:
            self.carry_over = functools.partial(on_each(symgen.carry_over, devices), known)
        if guess is not None:
            beside = without_surface(first_avatar(config, model, portrait, guess), model)
            self.beside = replicate(beside, devices)
            guess = replicate(jax.jit(symgen.detailed)(guess, seen, model), devices)
            self.paint = functools.partial(on_each(_paint, devices), guess, known)

    def render(self, capacity: int) -> Callable:
        """(avatar, model, flame [T], camera [T]) to rgb [T, H, W, 3], alpha [T, H, W], overflow []."""
        setup = self._setup
        one = bound(symgen.render_sample, self._renderer(capacity), background=setup.background)
        return self._cached("render", capacity, lambda: on_each(one, setup.devices))

    def update(self, capacity: int) -> Callable:
        """(state, batch [B] without device axis, model) to (state, metrics); the state's memory is reused.

        With score distillation a batch is a pair: the Batch, and the pulls [B, H, W, 3].
        """
        config, model = self._setup.config, self._setup.parts.model
        make = self._ordered_update if ordered_sums(config, model) else self._fast_update
        return self._cached("update", capacity, lambda: make(capacity))

    def _ordered_update(self, capacity: int) -> Callable:
        count, devices = self._setup.config.update.batch, self._setup.devices
        part = on_each(bound(_part, **self._of_step(capacity)), devices)

        def update(state, batch, model):
            made = [part(state.avatar, example, model) for example in rounds(batch, count, devices)]
            return self._step(state, self._gather(made))

        return update

    def _fast_update(self, capacity: int) -> Callable:
        count, devices = self._setup.config.update.batch, self._setup.devices
        step = bound(symgen.update, **self._of_step(capacity), axis_name=AXIS)
        program = mapped(step, devices, donate=(0,))

        def update(state, batch, model):
            shares, weight = split(batch, count, devices)
            return program(state, shares.replace(weight=weight), model)

        return update

    def _of_step(self, capacity: int) -> dict[str, Any]:
        return {
            "renderer": self._renderer(capacity),
            "perceptual": self._setup.parts.perceptual,
            "stored_background": self._setup.background,
            "config": self._setup.config.update,
        }

    def compile_density(self, state: State) -> None:
        """Compiles density control for one copy of the state, so that nothing compiles in the loop."""
        key = keys.key(0, "density")
        self._compiled_density = self._density.lower(key, state, self._setup.parts.model).compile()

    def density(self, key: jax.Array, state: State) -> State:
        """Density control of one copy of the state."""
        return (self._compiled_density or self._density)(key, state, self._setup.parts.model)

    def _renderer(self, capacity: int) -> Callable:
        return bound(self._setup.parts.render, capacity=capacity)

    def _cached(self, name: str, capacity: int, make: Callable[[], Callable]) -> Callable:
        if (name, capacity) not in self._by_capacity:
            self._by_capacity[name, capacity] = make()
        return self._by_capacity[name, capacity]


def _conditions(size, kind, model, flame, camera, points):
    return symgen.condition_images(model, flame, camera, size=size, kind=kind, points=points)


def _frame_gradient(diffusion, config, params, reference, negative, rgb, conditions, timestep, key):
    more = {"negative": negative, "timestep": timestep, "key": key, "config": config}
    return distillation.frame_gradient(diffusion, params, reference, rgb, conditions, **more)


def _refreshed(refresh, from_noise, params, reference, rgb, alpha, conditions, key):
    return refresh(params, reference, rgb, alpha, conditions, key=key, from_noise=from_noise)


def _paint(guess, seen, model, flame, camera, frames):
    return symgen.paint_over(frames, guess, seen, model, flame, camera)


def _part(avatar, example, model, **of_step):
    example, pull = example if isinstance(example, tuple) else (example, None)
    return symgen.part_of(avatar, example, model, pull, **of_step)


def ordered_sums(config: Config, model: FlameModel) -> bool:
    """Whether gradients are gathered and added in the batch's order; --sums=auto asks how many bytes."""
    if config.refresh.method in DISTILLED:
        return True
    if config.runner.sums != "auto":
        return config.runner.sums == "ordered"
    return gathered_bytes(config, model) <= GATHERED


def gathered_bytes(config: Config, model: FlameModel) -> int:
    """Bytes of a batch's gradients and statistics, which every device holds in a step with ordered sums."""
    update = config.update
    slots = int(np.ceil(update.capacity * len(model.faces)))
    return 4 * update.batch * slots * (3 + 3 + 4 + 1 + 3 * (update.sh_degree + 1) ** 2 + 3)


def _control_density(key: jax.Array, state: State, model: FlameModel, *, config: Density) -> State:
    """The state after density control: new slots without moments, statistics from zero."""
    avatar, fresh = density_control(key, state.avatar, model, state, config)
    return state.replace(
        avatar=avatar,
        optimizer=reset_moments(state.optimizer, fresh),
        gradient_sum=jnp.zeros_like(state.gradient_sum),
        seen=jnp.zeros_like(state.seen),
        largest_radius=jnp.zeros_like(state.largest_radius),
    )
