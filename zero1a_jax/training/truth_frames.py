"""The truth in the diffusion's place: a synthetic person's own renders, to tell what the diffusion costs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import symgen, synthetic
from zero1a_jax.config import Curriculum
from zero1a_jax.image import ops
from zero1a_jax.sources import portraits, synthetic_portrait
from zero1a_jax.symgen import dataset
from zero1a_jax.types import Camera, FlameModel, FlameParams, Portrait

SUPERSAMPLE = 3


@dataclasses.dataclass(frozen=True)
class Truth:
    """A person and the run's sequences on the person's own head, seen by that head's cameras."""

    model: FlameModel
    look: synthetic.Look
    samples: symgen.Samples
    background: np.ndarray  # [3]

    def frames(self, slots: Sequence[int], views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples `slots` [D] under a plan's views [M, T]: rgb [D, T, H, W, 3], alpha, reject reasons."""
        rgb, alpha = zip(*(self._sample(slot, views) for slot in slots), strict=True)
        return np.stack(rgb), np.stack(alpha), np.full(len(slots), dataset.ACCEPTED, np.int32)

    def _sample(self, slot: int, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        camera, flame = symgen.sequence(self.samples, slot, views)
        rgb, alpha = _render(self.model, self.look, flame, camera)
        return np.asarray(ops.composite(rgb, alpha, jnp.asarray(self.background))), np.asarray(alpha)


@jax.jit
def _render(
    model: FlameModel, look: synthetic.Look, flame: FlameParams, camera: Camera
) -> tuple[jax.Array, jax.Array]:
    draw = functools.partial(synthetic.render, model, look, supersample=SUPERSAMPLE)
    return jax.lax.map(lambda item: draw(*item), (flame, camera))


def truth_of(
    image: str,
    key: jax.Array,
    model: FlameModel,
    portrait: Portrait,
    curriculum: Curriculum,
    background: np.ndarray,
) -> Truth:
    """The truth behind a run's samples.

    Args:
      image: synthetic:SEED. key: that of the run's samples, so that views and expressions are the same.
      model: the embedded head. portrait: the run's; only its size counts. background: [3].
    """
    shape, look = synthetic_portrait.person(portraits.seed(image))
    own = portrait.replace(flame=portrait.flame.replace(shape=shape))
    return Truth(model, look, symgen.build_samples(key, model, own, curriculum), background)
