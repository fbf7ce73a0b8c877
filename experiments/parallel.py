"""Randomness and devices: the only place that derives keys and calls pmap.

Keys come from (seed, purpose, step, global index), never from a device's index, and lists are global:
devices split them, the last share is padded, padding has weight 0. So the work and its draws do not
depend on how many devices there are. (The order of floating-point sums does: see BUILD.md.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

AXIS = "devices"
Device = Any  # jax.Device, which a type checker takes for a variable
PURPOSES = ("samples", "bind", "noise", "choose", "draw", "background", "density", "portrait")


def key(seed: int, purpose: str, step: int = 0, index: int = 0) -> jax.Array:
    """A typed key for one use. Raises ValueError for a purpose not in PURPOSES."""
    return keys(seed, purpose, step, [index])[0]


def keys(seed: int, purpose: str, step: int, indices: Sequence[int]) -> jax.Array:
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


def replicate(tree: Any, devices: Sequence[Device]) -> Any:
    """A copy of every leaf on every device: leading axis D, one slice a device."""
    mesh = jax.sharding.Mesh(np.array(devices), (AXIS,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))

    def spread(leaf: Any) -> jax.Array:
        leaf = np.asarray(leaf)
        return jax.device_put(np.broadcast_to(leaf, (len(devices), *leaf.shape)), sharding)

    return jax.tree.map(spread, tree)


def first(tree: Any) -> Any:
    """The first device's copy of a replicated tree, as numpy arrays without the device axis."""
    # Indexing with [0] would gather from all devices.
    return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_shards[0].data)[0], tree)


def split(tree: Any, count: int, devices: int) -> tuple[Any, np.ndarray]:
    """Leaves [count, ...] as [D, ceil(count / D), ...], and the weights of the entries [D, ceil(count / D)].

    Padding repeats entry 0, so that it is harmless to compute with, and has weight 0.
    """
    share = -(-count // devices)
    index = np.arange(devices * share)
    weight = (index < count).astype(np.float32).reshape(devices, share)
    index = np.where(index < count, index, 0)

    def cut(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)[index]
        return leaf.reshape(devices, share, *leaf.shape[1:])

    return jax.tree.map(cut, tree), weight


def join(tree: Any, count: int) -> Any:
    """The inverse of `split` for results: leaves [D, share, ...] as numpy [count, ...]."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:])[:count], tree)


def mapped(function: Callable, devices: Sequence[Device], *, donate: Sequence[int] = ()) -> Callable:
    """`function` on all devices at once; every argument and result has the device axis in front."""
    return jax.pmap(function, axis_name=AXIS, devices=list(devices), donate_argnums=tuple(donate))
