"""Writes pickles piece by piece, good ones and such as no writer makes, and the torch files around them."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

import numpy as np

TORCH_TYPES = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage", "f2": "HalfStorage"}
MAGIC = 0x1950A86A20F9469CFC6C


def dump(*body: bytes, protocol: int = 2) -> bytes:
    return bytes([0x80, protocol]) + b"".join(body) + b"."


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def data(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def listed(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def call(target: bytes, *arguments: bytes) -> bytes:
    return target + group(*arguments) + b"R"


def dtype(kind: str, order: str = "<") -> bytes:
    made = call(name("numpy", "dtype"), text(kind), number(0), number(1))
    return made + group(number(3), text(order), b"N", b"N", b"N", number(1), number(1), number(0)) + b"b"


def array(shape: tuple, kind: str, content: bytes, *, order: str = "<") -> bytes:
    """An array as numpy writes it; `content` is the piece that makes its bytes (or list)."""
    make = call(
        name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), group(number(0)), data(b"b")
    )
    state = group(number(1), group(*map(number, shape)), dtype(kind, order), b"\x89", content)
    return make + state + b"b"


def numbers(values: np.ndarray) -> bytes:
    kind = values.dtype.str[1:]
    return array(values.shape, kind, data(values.tobytes()), order=values.dtype.str[0])


def sparse(
    shape: tuple, values: np.ndarray, indices: np.ndarray, starts: np.ndarray, kind: str = "csc"
) -> bytes:
    made = name(f"scipy.sparse.{kind}", f"{kind}_matrix") + b")\x81"
    parts = dict(data=numbers(values), indices=numbers(indices), indptr=numbers(starts))
    return made + mapping(_shape=group(*map(number, shape)), maxprint=number(50), **parts) + b"b"


def npy(body: bytes, *, descr: str = "|O", shape: str = "()") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def storage(key: str, kind: str, count: int, *, device: str = "cuda:0", extra: bytes = b"") -> bytes:
    pieces = (text("storage"), name("torch", kind), text(key), text(device), number(count), extra)
    return group(*pieces) + b"Q"


def tensor(source: bytes, offset: int, shape: tuple, strides: tuple) -> bytes:
    hooks = call(name("collections", "OrderedDict"))
    sizes = (group(*map(number, part)) for part in (shape, strides))
    target = name("torch._utils", "_rebuild_tensor_v2")
    return call(target, source, number(offset), *sizes, b"\x89", hooks)


def torch_old(body: bytes, storages: dict[str, bytes], counts: dict[str, int]) -> bytes:
    head = b"".join(pickle.dumps(thing, 2) for thing in (MAGIC, 1001, {"little_endian": True}))
    raw = b"".join(struct.pack("<q", counts[key]) + value for key, value in storages.items())
    return head + dump(body) + pickle.dumps(list(storages), 2) + raw


def torch_new(body: bytes, storages: dict[str, bytes], *, packed: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", dump(body))
        archive.writestr("archive/byteorder", b"little", zipfile.ZIP_STORED)
        for key, value in storages.items():
            archive.writestr(f"archive/data/{key}", value)
        archive.writestr("archive/version", b"3\n")
    return out.getvalue()


def tiny(**changes) -> dict:
    """A valid FLAME dictionary of 9 vertices and 22 columns; `changes` replace entries, None removes."""
    rng = np.random.default_rng(0)
    count = 9
    weights = rng.dirichlet(np.ones(5), count)
    content = dict(
        v_template=rng.normal(0, 0.05, (count, 3)),
        shapedirs=rng.normal(0, 0.001, (count, 3, 22)),
        posedirs=rng.normal(0, 0.001, (count, 3, 36)),
        J_regressor=rng.dirichlet(np.ones(count), 5),
        J=rng.normal(size=(5, 3)),
        weights=weights,
        kintree_table=np.array([[2**32 - 1, 0, 1, 1, 1], range(5)], np.uint32),
        f=np.array([[i, i + 1, i + 2] for i in range(count - 2)], np.uint32),
        bs_type="lrotmin",
    )
    content |= changes
    return {key: value for key, value in content.items() if value is not None}


def checkpoint() -> tuple[dict, dict]:
    """A state dict whose tensors share, transpose and skip, in both layouts, and what it means."""
    rng = np.random.default_rng(0)
    numbers = {"0": rng.normal(size=12).astype("f4"), "1": np.arange(5)}
    f4, i8 = (
        lambda extra: storage("0", "FloatStorage", 12, extra=extra),
        lambda extra: storage("1", "LongStorage", 5, extra=extra),
    )
    truth = {
        "weight": numbers["0"].reshape(3, 4),
        "turned": numbers["0"].reshape(3, 4).T,
        "part": numbers["0"][4:8:2],
        "count": numbers["1"][3],
        "empty": np.zeros((0, 4), "f4"),
    }

    def body(extra):
        parts = mapping(
            weight=tensor(f4(extra), 0, (3, 4), (4, 1)),
            turned=tensor(f4(extra), 0, (4, 3), (1, 4)),
            part=tensor(f4(extra), 4, (2,), (2,)),
            count=tensor(i8(extra), 3, (), ()),
            empty=tensor(f4(extra), 0, (0, 4), (4, 1)),
        )
        ordered = call(name("collections", "OrderedDict"))
        return ordered + parts[1:] + mapping(_metadata=mapping(version=number(1))) + b"b"

    raw = {key: value.tobytes() for key, value in numbers.items()}
    counts = {key: len(value) for key, value in numbers.items()}
    return {
        "old": torch_old(body(b"N"), raw, counts),
        "new": torch_new(body(b""), raw),
    }, truth
