"""Fitting a motion to the head that it shall move."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.flame.model import sized
from zero1a_jax.types import Array, FlameModel, Motion


def retarget(
    motion: Motion,
    model: FlameModel,
    *,
    shape: Array | None = None,
    expression: Literal["match", "drop"] = "match",
    root: Literal["keep", "drop"] = "keep",
) -> Motion:
    """The motion with coefficients of `model`'s sizes.

    Args:
      motion: T frames.
      model: the head to drive.
      shape: [S'] identity of the driven head, at most S coefficients; None keeps the motion's own.
      expression: "match" keeps the coefficients, which must be of the same model; "drop" sets them to 0, so
        that only the joints' rotations of a foreign motion are carried over.
      root: "drop" sets global rotation and translation to 0, for motions in the world of foreign cameras.

    Returns:
      Motion of the model's version. Missing coefficients are 0, surplus ones are cut (bases are ordered by
      variance, so a prefix is the best short version).

    Raises:
      ValueError: the coefficients belong to another model, or more shape coefficients than the model has.
    """
    flame = motion.flame
    frames = len(np.asarray(flame.jaw))
    shapes, expressions = np.shape(model.shape_basis)[2], np.shape(model.expression_basis)[2]
    own = motion.flame_version == model.version
    # Files rarely say their version; only a head with named shapes of its own is surely another basis.
    unknown = motion.flame_version == "unknown" and not model.expression_names
    if expression == "match" and not own and not unknown:
        raise Refused(
            f"the motion's expressions are of {motion.flame_version}, the head is {model.version}: their "
            "coefficients mean different things; expression=drop carries over the rotations alone"
        )
    if shape is None:
        if not own and not unknown:
            raise Refused(f"the motion's shape is of {motion.flame_version}; give the driven head's own")
        identity = sized(flame.shape, shapes)
    else:
        given = np.asarray(shape, np.float32)
        if given.ndim != 1 or len(given) > shapes:
            raise Refused(f"shape is {list(given.shape)}; the head has {shapes} shape coefficients")
        identity = np.repeat(sized(given[None], shapes), frames, axis=0)
    coefficients = sized(flame.expression, expressions)
    flame = dataclasses.replace(
        flame,
        shape=identity,
        expression=np.zeros_like(coefficients) if expression == "drop" else coefficients,
    )
    if root == "drop":
        zeros = np.zeros((frames, 3), np.float32)
        flame = dataclasses.replace(flame, rotation=zeros, translation=zeros.copy())
    return dataclasses.replace(motion, flame=flame, flame_version=model.version)
