"""What stands in for numpy, scipy and chumpy while a pickle of theirs is read.

Formats as written by numpy.ndarray.__reduce__, scipy.sparse's compressed matrices and chumpy 0.70, each with
the names of all their versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from zero1a_jax.converters.pickles.pickled import (
    IGNORED,
    BadFile,
    Global,
    Limits,
    Node,
    Vocabulary,
    put,
    short,
    text_of,
)

MAX_AXES = 8
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NDARRAY = Global("numpy", "ndarray")
_BUILTINS = ("__builtin__", "builtins")
_OBJECTS = tuple(Global(module, "object") for module in _BUILTINS)


def extent(shape: Any, itemsize: int) -> int:
    """Bytes of an array of `shape`. Raises BadFile where that is no shape, before anything is allocated."""
    good = isinstance(shape, tuple) and len(shape) <= MAX_AXES
    if not good or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
        raise BadFile(f"{short(shape)} cannot be the shape of an array")
    if math.prod(n or 1 for n in shape) * itemsize >= 1 << 62:  # numpy refuses it even where an axis has 0
        raise BadFile(f"{short(shape)} is the shape of more numbers than there can be")
    return math.prod(shape) * itemsize


def number_type(text: Any) -> np.dtype:
    """The dtype of a name such as f8, <i4, S3. Raises BadFile for anything but numbers and short strings."""
    text = text_of(text)
    order, code = "=", text
    if isinstance(text, str) and text[:1] in tuple("<>|="):
        order, code = text[0], text[1:]
    if isinstance(code, str) and 2 <= len(code) <= 5 and code[1:].isascii() and code[1:].isdigit():
        kind, size = code[0], int(code[1:])
        if size in _SIZES.get(kind, ()) or (kind in "SU" and 0 < size <= 1024):
            return np.dtype(kind + str(size)).newbyteorder("=" if order == "|" else order)  # type: ignore[arg-type]
    raise BadFile(f"an array has values of type {short(text)}, which are no numbers")


class DataType(Node):
    """numpy.dtype. Objects are the one type that is not a number."""

    def __init__(self, text: Any) -> None:
        text = text_of(text)
        self.objects = text in ("O", "O8", "O4")
        self._dtype = None if self.objects else number_type(text)
        self._filled = False

    def fill(self, state: Any) -> None:
        """(3, byte order, then no subarray, names or fields, ...)."""
        parts = list(state) if isinstance(state, tuple) else []
        order = text_of(parts[1]) if len(parts) >= 5 and not self._filled else None
        if order not in ("<", ">", "|", "=") or parts[2:5] != [None] * 3:
            raise BadFile("the type of an array is described in a way that no array of numbers needs")
        self._filled = True
        if self._dtype is not None and order in ("<", ">"):
            self._dtype = self._dtype.newbyteorder(order)

    @property
    def dtype(self) -> np.dtype:
        """The type of numbers. Raises BadFile for objects."""
        if self._dtype is None:
            raise BadFile("an array holds objects, not numbers")
        return self._dtype


class Array(Node):
    """numpy.ndarray: read-only, on the bytes of the file. An array of no axes may be one object instead."""

    def __init__(self) -> None:
        self._content: Any = None
        self._is_object = False

    def fill(self, state: Any) -> None:
        """(1, shape, dtype, Fortran order, bytes), or a list of one thing where the dtype is of objects."""
        if self._content is not None or not isinstance(state, tuple) or len(state) != 5:
            raise BadFile("an array is described in a way that numpy does not write")
        _, shape, kind, fortran, content = state
        if not isinstance(kind, DataType):
            raise BadFile("an array has no type")
        if kind.objects:
            if shape != () or not isinstance(content, list) or len(content) != 1:
                raise BadFile("an array holds objects, not numbers")
            self._content, self._is_object = content, True
            return
        size = extent(shape, kind.dtype.itemsize)
        if not isinstance(content, bytes) or len(content) != size:
            given = len(content) if isinstance(content, bytes) else "no"
            raise BadFile(f"an array of shape {short(shape)} has {given} bytes where it needs {size}")
        self._content = np.ndarray(shape, kind.dtype, content, order="F" if fortran else "C")

    def value(self, read: Callable[[Any], Any], limits: Limits) -> Any:
        """The array, or what the single object is."""
        if self._content is None:
            raise BadFile("an array has no content")
        return read(self._content[0]) if self._is_object else self._content


class _Keyed(Node):
    """An object whose state is a dictionary of its attributes."""

    def __init__(self) -> None:
        self._state: dict[Any, Any] | None = None

    def fill(self, state: Any) -> None:
        if self._state is not None or not isinstance(state, dict):
            raise BadFile(f"a {self._label} is filled with something that is no dictionary, or twice")
        self._state = state

    @property
    def _label(self) -> str:
        return type(self).__name__.lower()

    def _get(self, *names: str) -> Any:
        for name in names:
            if self._state is not None and name in self._state:
                return self._state[name]
        raise BadFile(f"a {self._label} lacks its {names[0]}")

    def _array(self, read: Callable[[Any], Any], name: str, kinds: str) -> np.ndarray:
        value = read(self._get(name))
        if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
            raise BadFile(f"the {name} of a {self._label} is no array of the right type")
        return value


class Sparse(_Keyed):
    """scipy.sparse's csc_matrix or, with `by_rows`, csr_matrix; its value is the dense array, float64."""

    def __init__(self, by_rows: bool) -> None:
        super().__init__()
        self._by_rows = by_rows

    def value(self, read: Callable[[Any], Any], limits: Limits) -> np.ndarray:
        """The dense matrix, after indices and sizes were checked."""
        shape = read(self._get("_shape", "shape"))
        size = extent(shape, 8)
        if len(shape) != 2:
            raise BadFile(f"a sparse matrix has {len(shape)} axes")
        data = self._array(read, "data", "fiu")
        indices, starts = (self._array(read, name, "iu") for name in ("indices", "indptr"))
        if any(part.ndim != 1 for part in (data, indices, starts)):
            raise BadFile("the parts of a sparse matrix are no lists of numbers")
        lines, length = shape if self._by_rows else shape[::-1]
        limits.spend(size + 8 * 4 * (len(data) + len(indices) + len(starts)))
        indices, starts = indices.astype(np.int64), starts.astype(np.int64)
        if len(starts) != lines + 1 or starts[0] != 0 or (np.diff(starts) < 0).any():
            raise BadFile("the index pointers of a sparse matrix are out of order")
        if not starts[-1] == len(indices) == len(data):
            raise BadFile("the parts of a sparse matrix have different lengths")
        if len(indices) and (indices.min() < 0 or indices.max() >= length):
            raise BadFile(f"an index of a sparse matrix is outside of its shape {short(shape)}")
        dense = np.zeros((lines, length))
        np.add.at(dense, (np.repeat(np.arange(lines), np.diff(starts)), indices), data)
        return dense if self._by_rows else dense.T


class Chumpy(_Keyed):
    """chumpy.ch.Ch: an array behind automatic differentiation."""

    def value(self, read: Callable[[Any], Any], limits: Limits) -> Any:
        """The array itself."""
        return read(self._get("x"))


class Selection(_Keyed):
    """chumpy.reordering.Select: some elements of an array, in a new shape."""

    def value(self, read: Callable[[Any], Any], limits: Limits) -> np.ndarray:
        """a.ravel()[idxs].reshape(preferred_shape)."""
        source, chosen = self._array(read, "a", "fiu"), self._array(read, "idxs", "iu")
        shape = read(self._get("preferred_shape"))
        size = extent(shape, source.dtype.itemsize)
        if size != chosen.size * source.dtype.itemsize:
            raise BadFile(f"a selection of {chosen.size} elements cannot have the shape {short(shape)}")
        limits.spend(size + source.size * source.dtype.itemsize + 16 * chosen.size)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= source.size):
            raise BadFile("a selection takes elements that are not there")
        return source.ravel()[chosen.ravel().astype(np.int64)].reshape(shape)


def _reconstruct(arguments: tuple, limits: Limits) -> Array:
    if len(arguments) != 3 or arguments[:2] != (_NDARRAY, (0,)) or text_of(arguments[2]) != "b":
        raise BadFile("an array is made in a way that numpy does not write")
    return Array()


def _data_type(arguments: tuple, limits: Limits) -> DataType:
    if not 1 <= len(arguments) <= 3:
        raise BadFile("the type of an array is made in a way that numpy does not write")
    return DataType(arguments[0])


def _encode(arguments: tuple, limits: Limits) -> bytes:
    """Bytes that Python 3 wrote in an old protocol: text in which each character is a byte."""
    if len(arguments) != 2 or type(arguments[0]) is not str or arguments[1] not in ("latin1", "latin-1"):
        raise BadFile("it encodes text in a way that no file of arrays needs")
    limits.spend(len(arguments[0]))
    try:
        return arguments[0].encode("latin1")
    except UnicodeEncodeError as error:
        raise BadFile("the bytes of an array hold characters that are no bytes") from error


def _no_bytes(arguments: tuple, limits: Limits) -> bytes:
    """How old protocols of Python 3 write empty bytes, as of empty arrays."""
    if arguments:
        raise BadFile("it makes bytes in a way that no file of arrays needs")
    return b""


def _reconstructor(arguments: tuple, limits: Limits) -> Node:
    """How protocols 0 and 1 make an object of a class."""
    good = len(arguments) == 3 and arguments[1] in _OBJECTS and arguments[2] is None
    make = _NEWS.get(arguments[0]) if good and type(arguments[0]) is Global else None
    if make is None:
        raise BadFile("it makes an object in a way that no file of arrays needs")
    return make()


def _ordered(arguments: tuple, limits: Limits) -> dict:
    """Python 2 gives its pairs in a list; Python 3 gives nothing and adds them later."""
    pairs = arguments[0] if len(arguments) == 1 else [] if not arguments else None
    if not isinstance(pairs, list) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
        raise BadFile("it makes an ordered dictionary in a way that no file of arrays needs")
    limits.spend(100 * len(pairs))  # the same list may come again and again
    made: dict = {}
    for key, value in pairs:
        put(made, key, value)
    return made


def _names(modules: Iterable[str], name: str) -> list[Global]:
    return [Global(module, name) for module in modules]


_NEWS: dict[Global, Callable[[], Node]] = {
    Global("chumpy.ch", "Ch"): Chumpy,
    Global("chumpy.reordering", "Select"): Selection,
    **dict.fromkeys(_names(("scipy.sparse.csc", "scipy.sparse._csc"), "csc_matrix"), lambda: Sparse(False)),
    **dict.fromkeys(_names(("scipy.sparse.csr", "scipy.sparse._csr"), "csr_matrix"), lambda: Sparse(True)),
}
_CALLS: dict[Global, Callable[[tuple, Limits], Any]] = {
    **dict.fromkeys(_names(_NUMPY, "_reconstruct"), _reconstruct),
    Global("numpy", "dtype"): _data_type,
    Global("_codecs", "encode"): _encode,
    Global("collections", "OrderedDict"): _ordered,
    **dict.fromkeys(_names(("copy_reg", "copyreg"), "_reconstructor"), _reconstructor),
    **dict.fromkeys(_names(_BUILTINS, "bytes"), _no_bytes),
    **dict.fromkeys(_names(_BUILTINS, "set"), lambda arguments, limits: IGNORED),
}
ARRAYS = Vocabulary(calls=_CALLS, news=_NEWS, names=frozenset({_NDARRAY, *_OBJECTS}))
