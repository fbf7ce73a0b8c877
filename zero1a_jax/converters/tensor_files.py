"""Named tensors in .safetensors and torch files as arrays on the file, and a writer that holds one at a time.

A checkpoint of gigabytes opens at once and costs no memory until its tensors are used; `release` gives back
what a used one took. Source of the layout: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from zero1a_jax.converters.pickles.pickled import BadFile
from zero1a_jax.converters.pickles.unpickle import load_torch

SUFFIXES = (".safetensors", ".pth", ".bin", ".pt")  # the first that exists is read
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": ml_dtypes.bfloat16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}


def find(folder: Path, stems: tuple[str, ...]) -> Path | None:
    """The first of folder/STEM.SUFFIX that is a file, or None."""
    files = (folder / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a .safetensors or torch file by name: read-only arrays on the file.

    Raises:
      FileNotFoundError: there is no such file.
      BadFile (a ValueError): it is damaged or holds anything but named tensors; the text says where.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _safetensors(path)
    found = load_torch(path)
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]  # as training frameworks wrap it
    if not isinstance(found, dict) or not found or not all(isinstance(v, np.ndarray) for v in found.values()):
        raise BadFile(f"{path} holds something else than named tensors.")
    return {str(key): value for key, value in found.items()}


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, "numpy"):  # judges the header: sizes, offsets, names
            pass
    except (SafetensorError, OSError) as error:
        raise BadFile(f"{path} is damaged, or no .safetensors file ({error}).") from error
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # stays open while an array needs it
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _TYPES:
            raise BadFile(f"{path}: {name} has the number type {entry['dtype']}, which is not read here.")
        dtype, shape = np.dtype(_TYPES[entry["dtype"]]), tuple(entry["shape"])
        at = start + entry["data_offsets"][0]
        tensors[name] = np.ndarray(shape, dtype, data, at) if 0 not in shape else np.zeros(shape, dtype)
    return tensors


def check(path: Path, found: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raises BadFile with one sentence where the tensors of a file are not those wanted: names and shapes."""
    missing = [key for key in wanted if key not in found]
    extra = [key for key in found if key not in wanted]
    other = [
        f"{key} of shape {found[key].shape} instead of {tuple(wanted[key])}"
        for key in wanted
        if key in found and found[key].shape != tuple(wanted[key])
    ]
    faults = []
    for verb, keys in (("lacks", missing), ("has the unknown", extra), ("has", other)):
        named = ", ".join(ascii(key)[1:-1][:200] for key in keys[:3])
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        faults += [f"{verb} {named}{more}"] if keys else []
    if faults:
        raise BadFile(f"{path} {'; '.join(faults)}")


def release(array: np.ndarray) -> None:
    """Gives back the memory that reading an array of `read` took; it may be read again."""
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def write(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    dtype: Callable[[np.ndarray], np.dtype],
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Writes a .safetensors file tensor by tensor, each as the number type that `dtype` gives; its bytes.

    Memory for one tensor at a time. The file appears under its name once it is complete.
    """
    header: dict = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    kinds = {name: np.dtype(dtype(tensor)) for name, tensor in tensors.items()}
    # Wide types first, so that every tensor starts at a multiple of its item's size.
    names = sorted(tensors, key=lambda name: -kinds[name].itemsize)
    for name in names:
        size = tensors[name].size * kinds[name].itemsize
        header[name] = {
            "dtype": _NAMES[kinds[name]],
            "shape": list(tensors[name].shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            for piece in _pieces(tensors[name]):
                file.write(piece.astype(kinds[name], copy=False).tobytes())
            release(tensors[name])
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    return 8 + len(text) + at


def _pieces(tensor: np.ndarray, size: int = 1 << 24) -> Iterator[np.ndarray]:
    """The tensor in order, in runs of its first axis of at most `size` numbers (or one row)."""
    if tensor.ndim == 0:
        yield tensor
        return
    rows = max(1, size // max(1, tensor[:1].size))
    for start in range(0, len(tensor), rows):
        yield tensor[start : start + rows]
