"""The compiled functions of a run. Those that rasterise are compiled once for a raster capacity."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from zero1a_jax import keys, symgen
from zero1a_jax.avatar import density_control, reset_moments
from zero1a_jax.config import Density
from zero1a_jax.devices import AXIS, mapped, over_frames, replicate, shared_frames
from zero1a_jax.training.progress import first_avatar, has_prior
from zero1a_jax.training.setup import Setup
from zero1a_jax.types import FlameModel, State


class Programs:
    """pmapped functions; every argument and result has the device axis in front.

    With --split_frames `refresh` and `fill` take their weights and the portrait's features without it, and do
    the first sample alone.
    """

    def __init__(self, setup: Setup):
        self._setup = setup
        self._by_capacity: dict[tuple[str, int], Callable] = {}
        config, parts = setup.config, setup.parts
        background = jnp.asarray(setup.background)
        refresh = functools.partial(
            symgen.refresh, parts.diffusion, background=background, config=config.refresh
        )
        self.plan = jax.jit(functools.partial(symgen.plan, config=config.curriculum))
        self.refresh = self._refresh(refresh, from_noise=False)
        self.fill = self._refresh(refresh, from_noise=True)
        size, kind = parts.diffusion.condition_size, parts.diffusion.condition
        points = functools.partial(symgen.condition_points, size=size, kind=kind)
        self.points = mapped(points, setup.devices)  # (model, flame [T], camera [T]) to [T, P, 2]

        def images(model, flame, camera, points):
            return symgen.condition_images(model, flame, camera, size=size, kind=kind, points=points)

        self.conditions = mapped(images, setup.devices)  # to [T, S, S, 3]
        self.outrank = self._outrank() if config.refresh.portrait_outranks else None
        share = config.refresh.prior_share if has_prior(config, parts.model) else 0.0
        self.first = (
            replicate(first_avatar(config, parts.model, parts.portrait), setup.devices) if share else None
        )
        self.blend = mapped(
            lambda frames, known: frames + share * (known - frames), setup.devices, donate=(0,)
        )
        self._density = jax.jit(functools.partial(_control_density, config=config.density))
        self._compiled_density: Callable | None = None

    def _refresh(self, function: Callable, *, from_noise: bool) -> Callable:
        def one(params, reference, rgb, alpha, conditions, key):
            return function(params, reference, rgb, alpha, conditions, key=key, from_noise=from_noise)

        if not self._setup.config.runner.split_frames:
            return mapped(one, self._setup.devices, donate=(2, 3))
        devices = shared_frames(self._setup.config.curriculum.frames, self._setup.devices)
        together = over_frames(one, devices, split=(2, 3, 4), arguments=6)

        def first(params, reference, *sample):
            out = together(params, reference, *(leaf[0] for leaf in sample))
            return jax.tree.map(lambda leaf: leaf[None], out)

        return first

    def _outrank(self) -> Callable:
        """(model, flame [T], camera [T], frames [T, H, W, 3]) to frames that give way to the portrait."""
        seen = jax.jit(symgen.seen_by)(self._setup.parts.portrait, self._setup.parts.model)

        def one(model, flame, camera, frames):
            return symgen.outrank(frames, symgen.carry_over(seen, model, flame, camera))

        return mapped(one, self._setup.devices)

    def render(self, capacity: int) -> Callable:
        """(avatar, model, flame [T], camera [T]) to rgb [T, H, W, 3], alpha [T, H, W], overflow []."""
        setup = self._setup
        renderer = self._renderer(capacity)

        def one(avatar, model, flame, camera):
            return symgen.render_sample(
                renderer, avatar, model, flame, camera, background=jnp.asarray(setup.background)
            )

        return self._cached("render", capacity, lambda: mapped(one, setup.devices))

    def update(self, capacity: int) -> Callable:
        """(state, batch, model) to (state, metrics); the state's memory is reused."""
        setup = self._setup
        step = functools.partial(
            symgen.update,
            renderer=self._renderer(capacity),
            perceptual=setup.parts.perceptual,
            stored_background=jnp.asarray(setup.background),
            config=setup.config.update,
            axis_name=AXIS,
        )

        def one(state, batch, model):
            return step(state, batch, model)

        return self._cached("update", capacity, lambda: mapped(one, setup.devices, donate=(0,)))

    def compile_density(self, state: State) -> None:
        """Compiles density control for one copy of the state, so that nothing compiles in the loop."""
        key = keys.key(0, "density")
        self._compiled_density = self._density.lower(key, state, self._setup.parts.model).compile()

    def density(self, key: jax.Array, state: State) -> State:
        """Density control of one copy of the state."""
        return (self._compiled_density or self._density)(key, state, self._setup.parts.model)

    def _renderer(self, capacity: int) -> Callable:
        return functools.partial(self._setup.parts.render, capacity=capacity)

    def _cached(self, name: str, capacity: int, make: Callable[[], Callable]) -> Callable:
        if (name, capacity) not in self._by_capacity:
            self._by_capacity[name, capacity] = make()
        return self._by_capacity[name, capacity]


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
