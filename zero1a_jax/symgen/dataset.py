"""Pure operations on the host-side dataset of pseudo ground truth.

Every function returns a new `Dataset`; nothing is changed in place. A generated sample that fails its
checks is not stored: the old one stays and the slot carries the reason.
"""

from __future__ import annotations

import jax
import numpy as np

from zero1a_jax.image.colour import as_uint8
from zero1a_jax.symgen.curriculum import PORTRAIT
from zero1a_jax.symgen.sequences import Samples
from zero1a_jax.types import Array, Camera, Dataset, FlameParams, Portrait

ACCEPTED, NOT_FINITE, BLANK, LANDMARKS_LOST = 0, 1, 2, 3
REASONS = {
    ACCEPTED: "accepted",
    NOT_FINITE: "the generated frames hold values that are not finite",
    BLANK: "a generated frame is blank",
    LANDMARKS_LOST: "the landmarks were lost in a rendered frame",
}


def empty(samples: Samples, portrait: Portrait) -> Dataset:
    """A dataset with all M slots empty, except slot 0: the portrait, frozen, in all T frames."""
    count, frames = samples.cameras.focal.shape[:2]
    height, width = portrait.rgb.shape[:2]
    rgb = np.zeros((count, frames, height, width, 3), np.uint8)
    alpha = np.zeros((count, frames, height, width), np.uint8)
    rgb[0], alpha[0] = as_uint8(portrait.rgb), as_uint8(portrait.alpha)
    frozen = np.asarray(samples.stage) == PORTRAIT
    copy = jax.tree.map(lambda x: np.array(x, np.float32), (samples.cameras, samples.flame))
    return Dataset(
        rgb=rgb,
        alpha=alpha,
        cameras=copy[0],
        flame=copy[1],
        frozen=frozen,
        stage=np.array(samples.stage, np.int32),
        round=frozen.astype(np.int32),
        reject_reason=np.zeros(count, np.int32),
    )


def replace(
    dataset: Dataset,
    index: int,
    rgb: Array,
    alpha: Array,
    cameras: Camera,
    flame: FlameParams,
    *,
    reason: int = ACCEPTED,
) -> Dataset:
    """Stores a refreshed sample, or quarantines it.

    Args:
      dataset: the dataset.
      index: slot; a frozen one raises ValueError.
      rgb: [T, H, W, 3], 0..1 or uint8.
      alpha: [T, H, W], 0..1 or uint8.
      cameras: [T], as rendered.
      flame: [T], as rendered.
      reason: one of REASONS; anything but ACCEPTED keeps the old frames and records the reason.
    """
    if dataset.frozen[index]:
        raise ValueError(f"sample {index} is frozen: the portrait is never overwritten; pick another slot")
    if reason not in REASONS:
        raise ValueError(f"unknown reject reason {reason}; use one of {sorted(REASONS)}")
    reasons = _with(dataset.reject_reason, index, reason)
    if reason != ACCEPTED:
        return dataset.replace(reject_reason=reasons)
    return dataset.replace(
        rgb=_with(dataset.rgb, index, as_uint8(rgb)),
        alpha=_with(dataset.alpha, index, as_uint8(alpha)),
        cameras=jax.tree.map(lambda old, new: _with(old, index, new), dataset.cameras, cameras),
        flame=jax.tree.map(lambda old, new: _with(old, index, new), dataset.flame, flame),
        round=_with(dataset.round, index, dataset.round[index] + 1),
        reject_reason=reasons,
    )


def draw_batch(
    dataset: Dataset, active: Array, count: int, rng: np.random.Generator, *, portrait_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """`count` pairs (slot, frame) for one avatar step, from the active slots that hold frames.

    Args:
      dataset: the dataset.
      active: [M] bool.
      count: size of the global batch.
      rng: decides the draw.
      portrait_share: probability of the portrait; the rest is spread evenly over the other slots. With
        no other slot filled all pairs are the portrait.
    """
    usable = np.flatnonzero(np.asarray(active) & ~dataset.frozen & (dataset.round > 0))
    others = rng.choice(usable, count) if len(usable) else np.zeros(count, np.int64)
    slots = np.where(rng.random(count) < portrait_share, 0, others)
    return slots, rng.integers(0, dataset.rgb.shape[1], count)


def gather(
    dataset: Dataset, slots: Array, frames: Array
) -> tuple[np.ndarray, np.ndarray, Camera, FlameParams]:
    """rgb uint8 [B,H,W,3], alpha uint8 [B,H,W], Camera [B], FlameParams [B] of the pairs."""
    cameras, flame = jax.tree.map(lambda x: x[slots, frames], (dataset.cameras, dataset.flame))
    return dataset.rgb[slots, frames], dataset.alpha[slots, frames], cameras, flame


def _with(array: np.ndarray, index: int, value: Array | int) -> np.ndarray:
    result = array.copy()
    result[index] = np.asarray(value)
    return result
