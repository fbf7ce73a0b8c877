"""What changes during a run, and what a checkpoint holds: the avatar's state and the dataset."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import keys, symgen
from zero1a_jax.avatar import bind, colours_from_portrait, cover_outside, pose, texture_prior
from zero1a_jax.config import Config
from zero1a_jax.devices import Device, first, replicate
from zero1a_jax.training.setup import Setup
from zero1a_jax.types import Avatar, Camera, Dataset, FlameModel, Portrait, State

OPACITY = 0.9  # of the first Gaussians: a head that is seen through conditions nothing


@dataclasses.dataclass
class Progress:
    """What changes during a run, and what a checkpoint holds."""

    state: State  # replicated
    dataset: Dataset
    capacity: int  # of the raster: intersections of a Gaussian and a tile
    skipped: int  # updates that were not finite
    rejected: int  # generated samples that failed their checks

    def arrays(self) -> dict[str, Any]:
        """The pytree of arrays to store."""
        counters = np.array([self.capacity, self.skipped, self.rejected], np.int64)
        return {"state": first(self.state), "dataset": self.dataset, "counters": counters}

    @staticmethod
    def from_arrays(arrays: dict[str, Any], devices: Sequence[Device]) -> Progress:
        """The inverse of `arrays`."""
        capacity, skipped, rejected = (int(number) for number in arrays["counters"])
        state = replicate(arrays["state"], devices)
        return Progress(state, arrays["dataset"], capacity, skipped, rejected)


def first_avatar(
    config: Config, model: FlameModel, portrait: Portrait, guess: texture_prior.Guess | None = None
) -> Avatar:
    """Gaussians on the portrait's identity, coloured by the portrait, and by the texture prior if on, whose
    `guess` is made where it is not given."""
    capacity = int(np.ceil(config.update.capacity * len(model.faces)))
    key = keys.key(config.runner.seed, "bind")
    guess = guessed(config, model, portrait) if guess is None else guess
    return _first_avatar(key, model, portrait, guess, capacity=capacity, degree=config.update.sh_degree)


def guessed(config: Config, model: FlameModel, portrait: Portrait) -> texture_prior.Guess | None:
    """What the texture prior says of the portrait, where it speaks in this run."""
    if not has_prior(config, model):
        return None
    return jax.jit(texture_prior.guess)(texture_prior.load_prior(), model, portrait)


def without_surface(avatar: Avatar, model: FlameModel) -> Avatar:
    """A first avatar's Gaussians that stand beside the mesh alone."""
    return avatar.replace(alive=avatar.alive & (jnp.arange(len(avatar.alive)) >= len(model.faces)))


def has_prior(config: Config, model: FlameModel) -> bool:
    """Whether the texture prior speaks in this run: it knows the embedded head alone."""
    return config.update.texture_prior and texture_prior.is_embedded(model)


@functools.partial(jax.jit, static_argnames=("capacity", "degree"))
def _first_avatar(
    key: jax.Array,
    model: FlameModel,
    portrait: Portrait,
    guess: texture_prior.Guess | None,
    *,
    capacity: int,
    degree: int,
) -> Avatar:
    shape = jnp.asarray(portrait.flame.shape)
    avatar = bind(key, model, shape, capacity=capacity, degree=degree, opacity=OPACITY)
    if guess is None:
        return cover_outside(colours_from_portrait(avatar, model, portrait), model, portrait)
    avatar = texture_prior.stand_off(avatar, model, guess.offset)
    avatar = colours_from_portrait(avatar, model, portrait, hidden=guess.rgb)
    return cover_outside(avatar, model, portrait, offset=guess.offset)


def start(setup: Setup) -> Progress:
    """The progress at step 0, with an empty dataset."""
    avatar = first_avatar(setup.config, setup.parts.model, setup.parts.portrait)
    dataset = symgen.dataset.empty(setup.samples, setup.parts.portrait)
    neutral = jax.tree.map(lambda leaf: leaf[0, 0], setup.samples.flame)
    posed = jax.jit(pose)(avatar, setup.parts.model, neutral)
    capacity = setup.parts.suggest_capacity(posed, last_cameras(setup.samples.cameras), margin=1.6)
    state = replicate(jax.jit(symgen.init_state)(avatar), setup.devices)
    return Progress(state=state, dataset=dataset, capacity=capacity, skipped=0, rejected=0)


def last_cameras(cameras: Camera) -> Camera:
    """The camera [M] that each sample ends at."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[:, -1]), cameras)
