"""Devices: the only file that calls pmap and places arrays on devices.

Lists are global: devices split them, and padding counts for nothing. So that bits do not depend on how many
devices there are, each entry goes through one and the same program of one device (`rounds`, `on_each`), and
sums are taken over what was `gathered`, in the list's order. See docs/seeds.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax._src import cache_key

AXIS = "devices"
Device = Any  # jax.Device, which a type checker takes for a variable


def replicate(tree: Any, devices: Sequence[Device]) -> Any:
    """A copy of every leaf on every device: leading axis D, one slice a device."""
    sharding = _placed(devices, jax.sharding.PartitionSpec(AXIS))

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


def rounds(tree: Any, count: int, devices: int) -> list[Any]:
    """Leaves [count, ...] as ceil(count / D) trees of leaves [D, ...], an entry a device, in their order.

    The last one is padded by entry 0, which is harmless to compute with.
    """
    index = np.arange(-(-count // devices) * devices)
    index = np.where(index < count, index, 0).reshape(-1, devices)
    return [jax.tree.map(lambda leaf, row=row: np.asarray(leaf)[row], tree) for row in index]


def gathered(count: int, devices: Sequence[Device]) -> Callable:
    """Joins what a program made of `rounds`: [D, ...] of each to [D, count, ...], all on every device."""

    def everything(*made: Any) -> Any:
        def leaf(*parts: jax.Array) -> jax.Array:
            every = jax.lax.all_gather(jax.numpy.stack(parts), AXIS, axis=1)  # [rounds, D, ...]
            return every.reshape(-1, *every.shape[2:])[:count]

        return jax.tree.map(leaf, *made)

    program = mapped(everything, devices)
    return lambda made: program(*made)


def on_each(function: Callable, devices: Sequence[Device], *, donate: Sequence[int] = ()) -> Callable:
    """`function` on all devices at once; every argument and result has the device axis in front.

    Not by pmap: XLA compiles a program of several devices unlike that of one and fuses other operations, so
    that bits change. Here all run the program of one device. Nothing is exchanged inside.
    """
    sharding = _placed(devices, jax.sharding.PartitionSpec(AXIS))

    def one(*given: Any) -> Any:
        made = function(*jax.tree.map(lambda leaf: leaf[0], given))
        return jax.tree.map(lambda leaf: jax.numpy.asarray(leaf)[None], made)

    program = jax.jit(one, donate_argnums=tuple(donate))
    compiled: list[Callable] = []  # for each device, at the first call

    def leaf_of(*parts: jax.Array) -> jax.Array:
        shape = (len(devices), *parts[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, list(parts))

    def call(*given: Any) -> Any:
        given = jax.device_put(given, sharding)
        shares = [jax.tree.map(lambda x, i=i: x.addressable_data(i), given) for i in range(len(devices))]
        if not compiled:
            with _kept_for_all():
                compiled.extend(program.lower(*share).compile() for share in shares)
        made = [run(*share) for run, share in zip(compiled, shares, strict=True)]
        return jax.tree.map(leaf_of, *made)

    return call


@contextlib.contextmanager
def _kept_for_all() -> Iterator[None]:
    """What jax keeps on disk of a program of one device then serves the other devices too.

    On a GPU it does so by itself; on a CPU it puts the device into the program's key. Where a newer jax lacks
    the function, or keeps nothing, a program is compiled for each device: slower, with the same bits.
    """
    name = "_hash_serialized_compile_options"
    original: Any = getattr(cache_key, name, None)

    def without_device(*given: Any, **named: Any) -> Any:
        return original(*given, **named | {"strip_device_assignment": True})

    if original is None:
        yield
        return
    setattr(cache_key, name, without_device)
    try:
        yield
    finally:
        setattr(cache_key, name, original)


def mapped(function: Callable, devices: Sequence[Device], *, donate: Sequence[int] = ()) -> Callable:
    """As `on_each`, by pmap over AXIS, for what exchanges; rounding depends on how many devices there are."""
    return jax.pmap(function, axis_name=AXIS, devices=list(devices), donate_argnums=tuple(donate))


def shared_frames(count: int, devices: Sequence[Device]) -> tuple[Device, ...]:
    """As many of the devices as can take equal shares of `count` frames."""
    return tuple(devices)[: max(n for n in range(1, len(devices) + 1) if count % n == 0)]


def everywhere(tree: Any, devices: Sequence[Device]) -> Any:
    """A copy of every leaf on every device, as one array without a device axis: for `over_frames`."""
    return jax.device_put(tree, _placed(devices, jax.sharding.PartitionSpec()))


def over_frames(
    function: Callable, devices: Sequence[Device], *, split: Sequence[int], arguments: int
) -> Callable:
    """`function` once, on all devices together: each works on its share of the frames.

    Args:
      function: of positional arguments, with arrays [T, ...] or scalars as results; XLA splits its work along
        the frames and exchanges what attention over time needs.
      devices: T must be a multiple of their number.
      split: which arguments have the frames in front; the others are `everywhere`.
      arguments: how many there are.
    """
    whole, shares = (_placed(devices, jax.sharding.PartitionSpec(*names)) for names in ((), (AXIS,)))
    places = tuple(shares if index in split else whole for index in range(arguments))
    program = jax.jit(function, in_shardings=places)
    return lambda *given: program(*(jax.device_put(x, place) for x, place in zip(given, places, strict=True)))


def _placed(devices: Sequence[Device], spec: jax.sharding.PartitionSpec) -> jax.sharding.NamedSharding:
    return jax.sharding.NamedSharding(jax.sharding.Mesh(np.array(devices), (AXIS,)), spec)
