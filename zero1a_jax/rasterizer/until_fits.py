"""The one loop that gives the rasterizer more room until a picture fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from zero1a_jax.types import Array

Result = TypeVar("Result")


def until_fits(
    attempt: Callable[[int], tuple[Result, Array]],
    capacity: int,
    *,
    grown: Callable[[int], None] = lambda capacity: None,
) -> tuple[Result, int]:
    """What `attempt` returns once nothing overflows, and the capacity that sufficed.

    Args:
      attempt: from a capacity (see `render`) to a result and its overflow (any shape, 0 where all fitted).
        What overflowed is discarded; the attempt is repeated with twice the capacity, which compiles anew.
      capacity: to begin with, intersections of a Gaussian and a tile.
      grown: told each new capacity, before it is tried.
    """
    while True:
        result, overflow = attempt(capacity)
        if int(np.max(np.asarray(overflow))) == 0:
            return result, capacity
        capacity *= 2
        grown(capacity)
