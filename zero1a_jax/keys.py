"""The seed contract: every random draw comes from (seed, purpose, step, global index).

Never from a device's index, and never from a key that is stored: so the draws do not depend on how many
devices, processes or interruptions there are. See docs/seeds.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

PURPOSES = (
    "samples",
    "bind",
    "noise",
    "choose",
    "draw",
    "background",
    "density",
    "portrait",
    "timestep",
)


def key(seed: int, purpose: str, step: int = 0, index: int = 0) -> jax.Array:
    """A typed key for one use. Raises ValueError for a purpose not in PURPOSES."""
    return many(seed, purpose, step, [index])[0]


def many(seed: int, purpose: str, step: int, indices: Sequence[int]) -> jax.Array:
    """Typed keys [n] for the global indices [n]."""
    if purpose not in PURPOSES:
        raise ValueError(f"unknown purpose {purpose!r}; add it at the end of PURPOSES")
    numbers = np.array([[PURPOSES.index(purpose), step, index] for index in indices], np.uint32)
    return _keys(np.uint32(seed), numbers)


@jax.jit
def _keys(seed: jax.Array, numbers: jax.Array) -> jax.Array:
    def one(row: jax.Array) -> jax.Array:
        value = jax.random.key(seed)
        for number in row:
            value = jax.random.fold_in(value, number)
        return value

    return jax.vmap(one)(numbers)


def rng(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """A host generator for one use, such as drawing a batch; same rules as `key`."""
    if purpose not in PURPOSES:
        raise ValueError(f"unknown purpose {purpose!r}; add it at the end of PURPOSES")
    return np.random.default_rng([seed, PURPOSES.index(purpose), step])
