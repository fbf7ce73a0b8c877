"""The one reader of .pkl, .npy, .npz and .pth files: it makes plain data and executes nothing.

Whatever a file says, reading it costs a bounded number of operations and little more memory than the file has
bytes (machine.py). Needs neither torch nor scipy nor chumpy.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax import files
from zero1a_jax.converters.pickles import archive, torch_layout
from zero1a_jax.converters.pickles.machine import Machine
from zero1a_jax.converters.pickles.pickled import BadFile, Limits, plain
from zero1a_jax.converters.pickles.stand_ins import extent, number_type

__all__ = ["BadFile", "load_npy", "load_npz", "load_pickle", "load_torch"]

MAX_BYTES = 1 << 30  # of files that are read as a whole
_HEADER = re.compile(
    rb"\{'descr': '([^']{1,8})', 'fortran_order': (True|False), 'shape': \(([0-9L, ]{0,200})\),? *\} *\n"
)


def load_pickle(path: str | os.PathLike) -> Any:
    """The data of a pickle: dictionaries, lists, numbers, strings, read-only numpy arrays.

    Protocols 0 to 4 of Python 2 and 3; numpy arrays, scipy's sparse matrices (as dense ones), chumpy's
    arrays, torch's tensors. Strings of Python 2 are bytes unless they are keys; sets become None.

    Raises:
      FileNotFoundError: there is no such file.
      BadFile (a ValueError): it holds anything else, is damaged, or costs too much; the text says what.
    """
    return _read(path, lambda data: _pickle(data, 0, Limits(len(data))))


def load_npy(path: str | os.PathLike) -> Any:
    """The array of a .npy file, or the data of the single object that it holds. Raises as `load_pickle`."""
    return _read(path, lambda data: _npy(data, Limits(len(data))))


def load_npz(path: str | os.PathLike) -> dict[str, Any]:
    """The arrays of a .npz file by name, each as `load_npy` gives it. Raises as `load_pickle`."""

    def read(data: bytes) -> dict[str, Any]:
        if not archive.is_archive(data):
            raise BadFile("it is no .npz archive")
        limits = Limits(len(data))
        files = archive.entries(data)
        return {
            name.removesuffix(".npy"): _npy(archive.content(data, entry, limits), limits)
            for name, entry in files.items()
        }

    return _read(path, read)


def load_torch(path: str | os.PathLike) -> Any:
    """What torch.save wrote, in either layout: as `load_pickle`, tensors as read-only arrays on the file.

    Their numbers are read when they are used, so a checkpoint of gigabytes opens at once. In the new layout
    checksums of the numbers are not verified. Raises as `load_pickle`.
    """
    path = _existing(path)
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise BadFile(f"{path}: it is empty")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # stays open while an array needs it
    return _named(path, lambda: _torch(data, Limits(len(data))))


def _torch(data: mmap.mmap, limits: Limits) -> Any:
    if archive.is_archive(data):
        return torch_layout.read_new(data, limits)
    if data[: len(torch_layout.MAGIC)] != torch_layout.MAGIC:
        raise BadFile("it is not laid out as torch does")
    return plain(torch_layout.read_old(data, limits), limits)


def _pickle(data: bytes, at: int, limits: Limits) -> Any:
    machine = Machine(data, at, torch_layout.ARRAYS_AND_TENSORS, limits)
    made = machine.run()
    if machine.at != len(data):
        raise BadFile(f"{len(data) - machine.at} bytes follow the end of its pickle")
    return plain(made, limits)


def _npy(data: bytes, limits: Limits) -> Any:
    """Source: numpy.lib.format, versions 1 to 3."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2, 3):
        raise BadFile("it is no .npy file")
    start, width = (10, 2) if data[6] == 1 else (12, 4)
    end = start + int.from_bytes(data[8 : 8 + width], "little")
    header = _HEADER.fullmatch(data[start:end]) if end - start <= 10_000 else None
    if header is None:
        raise BadFile("the header of its array is damaged, or of a table with columns")
    kind = header[1].decode("latin1")
    axes = [axis.strip(b" L") for axis in header[3].split(b",") if axis.strip()]
    if not all(axis.isdigit() for axis in axes):
        raise BadFile("the header of its array is damaged")
    shape = tuple(int(axis) for axis in axes)
    if kind.lstrip("|") in ("O", "O8"):
        if shape:
            raise BadFile(f"its array of shape {shape} holds objects, not numbers")
        return _pickle(data, end, limits)
    dtype = number_type(kind)
    size = extent(shape, dtype.itemsize)
    if len(data) - end != size:
        raise BadFile(f"its array of shape {shape} has {len(data) - end} bytes where it needs {size}")
    return np.ndarray(shape, dtype, data, end, order="F" if header[2] == b"True" else "C")


def _existing(path: str | os.PathLike) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return path


def _read(path: str | os.PathLike, read: Callable[[bytes], Any]) -> Any:
    path = _existing(path)
    if sentence := files.stand_in(path):
        raise BadFile(sentence)
    if path.stat().st_size > MAX_BYTES:
        raise BadFile(f"{path}: it has more than {MAX_BYTES >> 20} MiB")
    return _named(path, lambda: read(path.read_bytes()))


def _named(path: Path, read: Callable[[], Any]) -> Any:
    """Adds the file's name to what is wrong with it."""
    try:
        return read()
    except BadFile as error:
        raise BadFile(f"{path}: {error}") from error
