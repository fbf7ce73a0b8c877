"""Devices: the only file that calls pmap and places arrays on devices.

Lists are global: devices split them, and padding counts for nothing. So that bits do not depend on how many
devices there are, each entry goes through one and the same program of one device (`rounds`, `on_each`), and
sums are taken over what was `gathered`, in the list's order. See docs/seeds.md.

`devices` is always the list of all processes' devices (`everyone`). A process holds the part of its own ones:
where a shape says D, an array of a run of several processes has the process's own devices there. What passes
between processes passes through `gathered`, `mapped`, `exchanged` and `broadcast`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax._src import cache_key

from zero1a_jax.once import bound

AXIS = "devices"
Device = Any  # jax.Device, which a type checker takes for a variable


def everyone() -> tuple[Device, ...]:
    """The devices of all processes, process by process."""
    return tuple(device for process in range(jax.process_count()) for device in jax.local_devices(process))


def mine(devices: Sequence[Device]) -> tuple[Device, ...]:
    """Those of the devices that this process holds."""
    return tuple(device for device in devices if device.process_index == jax.process_index())


def replicate(tree: Any, devices: Sequence[Device]) -> Any:
    """A copy of every leaf on every device: leading axis D, one slice a device."""
    devices = mine(devices)
    sharding = _placed(devices, jax.sharding.PartitionSpec(AXIS))

    def spread(leaf: Any) -> jax.Array:
        leaf = np.asarray(leaf)
        return jax.device_put(np.broadcast_to(leaf, (len(devices), *leaf.shape)), sharding)

    return jax.tree.map(spread, tree)


def first(tree: Any) -> Any:
    """The first device's copy of a replicated tree, as numpy arrays without the device axis."""
    # Indexing with [0] would gather from all devices.
    return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_shards[0].data)[0], tree)


def split(tree: Any, count: int, devices: Sequence[Device]) -> tuple[Any, np.ndarray]:
    """Leaves [count, ...] as [D, ceil(count / D), ...], and the weights of the entries [D, ceil(count / D)].

    Padding repeats entry 0, so that it is harmless to compute with, and has weight 0.
    """
    share = -(-count // len(devices))
    own = [device.process_index == jax.process_index() for device in devices]
    index = np.arange(len(devices) * share).reshape(len(devices), share)[own]
    weight = (index < count).astype(np.float32)
    index = np.where(index < count, index, 0)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree), weight


def rounds(tree: Any, count: int, devices: Sequence[Device]) -> list[Any]:
    """Leaves [count, ...] as ceil(count / D) trees of leaves [D, ...], an entry a device, in their order.

    The last one is padded by entry 0, which is harmless to compute with.
    """
    index = np.arange(-(-count // len(devices)) * len(devices))
    own = [device.process_index == jax.process_index() for device in devices]
    index = np.where(index < count, index, 0).reshape(-1, len(devices))[:, own]
    return [jax.tree.map(lambda leaf, row=row: np.asarray(leaf)[row], tree) for row in index]


def gathered(count: int, devices: Sequence[Device]) -> Callable:
    """Joins what a program made of `rounds`: [D, ...] of each to [D, count, ...], all on every device."""

    program = mapped(bound(_everything, count), devices)
    return lambda made: program(*made)


def _everything(count: int, *made: Any) -> Any:
    def leaf(*parts: jax.Array) -> jax.Array:
        every = jax.lax.all_gather(jax.numpy.stack(parts), AXIS, axis=1)  # [rounds, D, ...]
        return every.reshape(-1, *every.shape[2:])[:count]

    return jax.tree.map(leaf, *made)


def exchanged(tree: Any, devices: Sequence[Device]) -> Any:
    """Numpy leaves [D, ...] of each process's own devices as those of all devices, on every process."""
    if len(mine(devices)) == len(devices):
        return tree
    return jax.tree.map(lambda leaf: np.asarray(first(_exchange(tuple(devices))(np.asarray(leaf)))), tree)


@functools.cache
def _exchange(devices: tuple[Device, ...]) -> Callable:
    return mapped(lambda leaf: jax.lax.all_gather(leaf, AXIS), devices)


def broadcast(data: bytes) -> bytes:
    """What process 0 gives, on every process."""
    if jax.process_count() == 1:
        return data
    from jax.experimental import multihost_utils

    count = multihost_utils.broadcast_one_to_all(np.array(divmod(len(data), 2**31), np.uint32))
    count = int(count[0]) * 2**31 + int(count[1])
    own = np.frombuffer(data, np.uint8) if jax.process_index() == 0 else np.zeros(count, np.uint8)
    return multihost_utils.broadcast_one_to_all(own).tobytes() if count else b""


def on_each(function: Callable, devices: Sequence[Device], *, donate: Sequence[int] = ()) -> Callable:
    """`function` on all devices at once; every argument and result has the device axis in front.

    Not by pmap: XLA compiles a program of several devices unlike that of one and fuses other operations, so
    that bits change. Here all run the program of one device. Nothing is exchanged inside.
    """
    devices = mine(devices)
    sharding = _placed(devices, jax.sharding.PartitionSpec(AXIS))

    program = jax.jit(bound(_of_one, function), donate_argnums=tuple(donate))
    compiled: list[Callable] = []  # for each device, at the first call

    def leaf_of(*parts: jax.Array) -> jax.Array:
        shape = (len(devices), *parts[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, list(parts))

    def call(*given: Any) -> Any:
        given = jax.tree.map(lambda leaf: _put(leaf, sharding), given)
        shares = [jax.tree.map(lambda x, i=i: x.addressable_data(i), given) for i in range(len(devices))]
        if not compiled:
            with _kept_for_all():
                compiled.extend(program.lower(*share).compile() for share in shares)
        made = [run(*share) for run, share in zip(compiled, shares, strict=True)]
        return jax.tree.map(leaf_of, *made)

    return call


def _put(leaf: Any, sharding: jax.sharding.NamedSharding) -> jax.Array:
    """Most arguments of a program, such as weights, are where they belong; asking jax again costs time."""
    if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
        return leaf
    return jax.device_put(leaf, sharding)


def _of_one(function: Callable, *given: Any) -> Any:
    made = function(*jax.tree.map(lambda leaf: leaf[0], given))
    return jax.tree.map(lambda leaf: jax.numpy.asarray(leaf)[None], made)


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
    """As many of this process's devices as can take equal shares of `count` frames."""
    devices = mine(devices)
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
