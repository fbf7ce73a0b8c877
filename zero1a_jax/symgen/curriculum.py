"""The curriculum: which samples are active at a step, and which view each of their frames shows.

Slot 0 is the portrait. Then come the spatial samples (one expression, a camera path from the front to
a side), the synthetic samples (a near-frontal camera, relaxed motion) and the real samples
(exaggerated motion). Every slot exists from step 0, so no shape ever changes.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import struct

from zero1a_jax.config import Curriculum
from zero1a_jax.types import Array

PORTRAIT, SPATIAL, SYNTHETIC, REAL = 0, 1, 2, 3
_METHOD = Curriculum()  # the paper's numbers, as far as they are known


@struct.dataclass
class Plan:
    """What the curriculum asks for at one step."""

    active: Array  # [M] bool: samples that are trained on and refreshed
    views: Array  # [M, T] int32: which entry of its sequence each frame shows
    view_limit: Array  # [] int32: j, from 1 to T


def stages(config: Curriculum) -> np.ndarray:
    """The stage of every slot, int32 [M] with M = 1 + n_s + n_syn + n_real."""
    counts = (1, config.spatial_samples, config.synthetic_samples, config.real_samples)
    return np.repeat(np.arange(4, dtype=np.int32), counts)


def plan(step: Array | int, config: Curriculum = _METHOD) -> Plan:
    """The curriculum at iteration `step` (progressive learning, docs/method.md; Fig. 4 of the paper).

    Frame i of a spatial sample shows view min(i, j) with j = min(floor(step / view_interval) + 1, T):
    all frames are frontal at first, then the path unrolls. Frames of the other samples show their own
    entry. Synthetic samples join at `synthetic_start`, real ones at `real_start`. Without `spatial` the
    temporal stages come forward to step 0, since nothing else would be left to learn from; without
    `progressive` everything is active, and unrolled, from step 0.

    Args:
      step: [] int32, may be traced: the shapes never depend on it.
      config: the numbers, those of the method where none are given; Python values.
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


def boundaries(config: Curriculum, steps: int) -> tuple[int, ...]:
    """The steps below `steps` at which the plan changes, in order. Steps are iterations."""
    changes = {step for step in (config.synthetic_start, config.real_start) if config.temporal}
    if not config.spatial and config.temporal:
        changes = {config.real_start - config.synthetic_start}
    if config.spatial:
        changes |= {config.view_interval * j for j in range(1, config.frames)}
    return tuple(sorted(step for step in changes if 0 < step < steps)) if config.progressive else ()
