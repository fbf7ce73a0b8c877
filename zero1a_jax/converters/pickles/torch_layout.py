"""Both layouts of torch.save, without torch: tensors become read-only arrays on the bytes of the file.

Old: a chain of pickles (magic number, 1001, system, the data, storage keys), then for each storage its length
and bytes. New, since 1.6: a zip archive of data.pkl and one stored entry a storage. Devices are ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from mmap import mmap
from typing import Any

import ml_dtypes
import numpy as np

from zero1a_jax.converters.pickles import archive
from zero1a_jax.converters.pickles.machine import Machine
from zero1a_jax.converters.pickles.pickled import BadFile, Global, Limits, Node, plain, short, text_of
from zero1a_jax.converters.pickles.stand_ins import ARRAYS, extent

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the first pickle of the old layout
_MAGIC_NUMBER, _OLD_VERSION = 0x1950A86A20F9469CFC6C, 1001
_TYPES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class Storage(Node):
    """A flat run of numbers that tensors look into."""

    def __init__(self, dtype: np.dtype, count: int, key: str) -> None:
        self.dtype, self.count, self.key = dtype, count, key
        self.numbers: np.ndarray | None = None

    def attach(self, data: bytes | mmap, start: int) -> None:
        """Lays it over the bytes from `start` on. Raises BadFile where they end too early."""
        if start + self.count * self.dtype.itemsize > len(data):
            raise BadFile(f"the numbers of a tensor (storage {short(self.key)}) are truncated")
        self.numbers = np.ndarray((self.count,), self.dtype, data, start)


class Tensor(Node):
    """A view of a storage."""

    def __init__(self, storage: Storage, offset: int, shape: tuple, strides: tuple) -> None:
        self._storage, self._offset, self._shape, self._strides = storage, offset, shape, strides

    def value(self, read: Callable[[Any], Any], limits: Limits) -> np.ndarray:
        """The array; its strides are kept."""
        storage, item = self._storage, self._storage.dtype.itemsize
        if storage.numbers is None:
            raise BadFile(f"the numbers of a tensor (storage {short(storage.key)}) are missing")
        size = extent(self._shape, item)
        extent(self._strides, 1)
        last = self._offset + sum((n - 1) * s for n, s in zip(self._shape, self._strides, strict=True))
        if size and (size > storage.count * item or not 0 <= self._offset <= last < storage.count):
            raise BadFile(f"a tensor of shape {short(self._shape)} is larger than its storage")
        if not size:
            return np.zeros(self._shape, storage.dtype)
        limits.spend(size)  # whoever copies them all shall not run out of memory
        strides = tuple(item * stride for stride in self._strides)
        return np.ndarray(self._shape, storage.dtype, storage.numbers, item * self._offset, strides)


def _rebuild(arguments: tuple, limits: Limits) -> Tensor:
    """torch._utils._rebuild_tensor(storage, offset, size, stride), and v2 with requires_grad, hooks, ..."""
    if len(arguments) not in (4, 6, 7) or not isinstance(arguments[0], Storage):
        raise BadFile("a tensor is made in a way that torch does not write")
    storage, offset, shape, strides = arguments[:4]
    good = type(offset) is int and isinstance(shape, tuple) and isinstance(strides, tuple)
    if not good or len(shape) != len(strides) or not 0 <= offset < 1 << 40:
        raise BadFile("a tensor is made in a way that torch does not write")
    return Tensor(storage, offset, shape, strides)


def _store(found: dict[str, Storage], reference: Any) -> Storage:
    """The storage of a persistent id ('storage', type, key, device, count[, view])."""
    good = isinstance(reference, tuple) and len(reference) in (5, 6) and text_of(reference[0]) == "storage"
    if not good or type(reference[1]) is not Global or (len(reference) == 6 and reference[5] is not None):
        raise BadFile("it refers to data outside of itself (a persistent id)")
    dtype, key, count = _TYPES[reference[1].name], text_of(reference[2]), reference[4]
    if type(key) is not str or type(count) is not int or not 0 <= count < 1 << 40:
        raise BadFile("the storage of a tensor has no name or no length")
    storage = found.setdefault(key, Storage(dtype, count, key))
    if storage.dtype != dtype or storage.count != count:
        raise BadFile(f"two tensors disagree about their storage {short(key)}")
    return storage


_TENSOR = {Global("torch._utils", name): _rebuild for name in ("_rebuild_tensor", "_rebuild_tensor_v2")}
_STORAGES = frozenset(Global("torch", name) for name in _TYPES)


def _words(found: dict[str, Storage]) -> Any:
    return dataclasses.replace(
        ARRAYS,
        calls=ARRAYS.calls | _TENSOR,  # type: ignore[operator]
        names=ARRAYS.names | _STORAGES,
        persistent=lambda reference, limits: _store(found, reference),
    )


def read_old(data: bytes | mmap, limits: Limits) -> Any:
    """What a file of the old layout holds, before `plain`. Raises BadFile."""
    found: dict[str, Storage] = {}
    words = _words(found)
    at, parts = 0, []
    for _ in range(5):
        machine = Machine(data, at, words, limits)
        parts.append(machine.run())
        at = machine.at
    magic, version, _, made, keys = parts
    if magic != _MAGIC_NUMBER or version != _OLD_VERSION or not isinstance(keys, list):
        raise BadFile("it is not laid out as torch does")
    for key in map(text_of, keys):
        storage = found.get(key) if type(key) is str else None
        if storage is None or storage.numbers is not None or len(data) < at + 8:
            raise BadFile("the list of its storages is damaged")
        count = int.from_bytes(data[at : at + 8], "little", signed=True)
        if count != storage.count:
            raise BadFile(f"the storage {short(key)} has {count} numbers where {storage.count} are announced")
        storage.attach(data, at + 8)
        at += 8 + count * storage.dtype.itemsize
    return made


def read_new(data: bytes | mmap, limits: Limits) -> Any:
    """The plain data of a file of the new layout. Raises BadFile."""
    files = archive.entries(data)
    roots = [name.removesuffix("data.pkl") for name in files if name.split("/")[1:] == ["data.pkl"]]
    if len(roots) != 1:
        raise BadFile("it is an archive without the data.pkl of torch")
    order = files.get(roots[0] + "byteorder")
    if order is not None and archive.content(data, order, limits) != b"little":
        raise BadFile("its numbers are big-endian, which torch writes on rare machines only")
    found: dict[str, Storage] = {}
    pickled = archive.content(data, files[roots[0] + "data.pkl"], limits)
    made = Machine(pickled, 0, _words(found), limits).run()
    for key, storage in found.items():
        entry = files.get(f"{roots[0]}data/{key}")
        if entry is None or entry.deflated or entry.size != storage.count * storage.dtype.itemsize:
            raise BadFile(f"the numbers of a tensor (storage {short(key)}) are missing, packed or too few")
        storage.attach(data, entry.start)
    return plain(made, limits)


def _load_from_bytes(arguments: tuple, limits: Limits) -> Any:
    """A storage inside a pickle: a small file of the old layout."""
    if len(arguments) != 1 or type(arguments[0]) is not bytes:
        raise BadFile("a tensor is made in a way that torch does not write")
    limits.spend(len(arguments[0]))
    storage = read_old(arguments[0], limits)
    if not isinstance(storage, Storage):
        raise BadFile("a tensor is made in a way that torch does not write")
    return storage


# Pickles and .npy files that other programs wrote while their arrays still were tensors.
ARRAYS_AND_TENSORS = dataclasses.replace(
    ARRAYS,
    calls=ARRAYS.calls | _TENSOR | {Global("torch.storage", "_load_from_bytes"): _load_from_bytes},  # type: ignore[operator]
)
