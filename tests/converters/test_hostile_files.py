"""Archives and checkpoints that want to run something or to fill the memory: refused, cheaply."""

import io
import os
import pickle
import zipfile

import numpy as np

from zero1a_jax.converters.pickles import unpickle


class Command:
    """What the usual attack pickles."""

    def __reduce__(self):
        return os.system, ("touch boom",)


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_npy", ".npy"), content)
    return out.getvalue()


def patched(data, at, value):
    return data[:at] + value + data[at + len(value) :]


def directory(data):
    return data.rfind(b"PK\x01\x02")


def bombs(p):
    """Archives and headers that announce more than they hold, or hold more than they announce."""
    big = p.npy(b"\0" * (100 << 20), descr="<f4", shape=f"({25 << 20},)")
    small = zipped(a_npy=p.npy(b"\0" * 4, descr="<f4", shape="(1,)"))
    end = small.rfind(b"PK\x05\x06")
    yield "unpacks to 100 MB", zipped(a_npy=big), "far more bytes"
    yield (
        "unpacks to more than announced",
        patched(zipped(a_npy=big), directory(zipped(a_npy=big)) + 24, b"\x84\0\0\0"),
        "damaged",
    )
    yield "announces 4 GB", patched(small, directory(small) + 24, b"\xff\xff\xff\xfe"), "far more bytes"
    yield "a million files", patched(small, end + 10, b"\xff\xff\xff\xff"), "too many|truncated"
    yield "directory elsewhere", patched(small, end + 16, b"\xff\xff\xff\x7f"), "truncated"
    yield "file elsewhere", patched(small, directory(small) + 42, b"\xff\xff\xff\x7f"), "missing"
    yield "encrypted", patched(small, directory(small) + 8, b"\x01"), "encrypted"
    yield "another packing", patched(small, directory(small) + 10, b"\x0c"), "unusual"
    yield "array of 8 TB", zipped(a_npy=p.npy(b"", descr="<f8", shape=f"({1 << 39},)")), "needs"
    yield "command in an array", zipped(a_npy=p.npy(pickle.dumps(Command()))), r"\.system"
    yield "objects", zipped(a_npy=p.npy(b"", shape="(3,)")), "holds objects"
    yield "expression for a header", zipped(a_npy=p.npy(b"", descr="<f8', 'a': __import__('os')")), "header"
    yield "no archive", b"PK but not really", "no .npz"
    yield "half", small[: len(small) // 2], "truncated"


def test_npz(pickles, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, (_, content, words) in enumerate(bombs(pickles)):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(content)
        refused(unpickle.load_npz, path, words)


def checkpoints(p):
    """Bad .pth files of both layouts."""
    numbers = np.arange(4, dtype="<f4").tobytes()
    one = p.storage("0", "FloatStorage", 4)
    old = lambda body, **k: p.torch_old(body, k.get("raw", {"0": numbers}), k.get("counts", {"0": 4}))  # noqa: E731
    yield p.torch_new(pickle.dumps(Command(), 2)[2:-1], {}), r"\.system"
    yield p.torch_new(p.tensor(one, 0, (4,), (1,)), {"0": numbers}, packed=True), "packed"
    yield p.torch_new(p.tensor(one, 0, (4,), (1,)), {"0": numbers[:8]}), "too few"
    yield p.torch_new(p.tensor(one, 0, (4,), (1,)), {"1": numbers}), "missing"
    yield p.torch_new(p.tensor(one, 1, (4,), (1,)), {"0": numbers}), "larger than its storage"
    yield p.torch_new(p.tensor(one, 0, (2, 2), (4, 1)), {"0": numbers}), "larger than its storage"
    yield p.torch_new(p.tensor(one, 0, (1 << 30,), (0,)), {"0": numbers}), "larger than its storage"
    yield p.torch_new(p.tensor(one, 0, (4,), (-1,)), {"0": numbers}), "cannot be the shape"
    yield p.torch_new(p.tensor(p.text("0"), 0, (4,), (1,)), {"0": numbers}), "torch does not write"
    yield p.torch_new(p.storage("0", "UntypedStorage", 4), {"0": numbers}), "UntypedStorage"
    yield p.torch_new(p.text("boom") + b"Q", {}), "persistent"
    yield p.torch_new(p.storage("0", "FloatStorage", -4), {"0": numbers}), "no length"
    yield p.torch_new(p.listed(one, p.storage("0", "LongStorage", 2)), {"0": numbers}), "disagree"
    yield p.torch_new(p.listed(one), {"0": numbers}), "stands where data"
    yield zipped(archive__weights=b""), "data.pkl"
    yield zipped(archive__data=b"", other=b""), "data.pkl"
    yield old(p.tensor(one, 0, (4,), (1,)), raw={"0": numbers[:8]}), "truncated"
    yield old(p.tensor(one, 0, (4,), (1,)), counts={"0": 1 << 60}), "announced"
    yield old(p.tensor(one, 0, (4,), (1,)), counts={"0": -4}), "announced"
    yield old(p.tensor(one, 0, (4,), (1,)), raw={}), "missing"
    yield old(p.tensor(one, 0, (4,), (1,)), raw={"7": numbers}, counts={"7": 4}), "list of its storages"
    yield old(pickle.dumps(Command(), 2)[2:-1]), r"\.system"
    yield pickle.dumps(Command(), 2), "laid out as torch"
    # Four numbers that a hundred thousand tensors look at would be terabytes once copied.
    wide = p.storage("0", "FloatStorage", 1 << 18)
    shared = p.tensor(wide, 0, (1 << 18,), (1,)) + b"q\x09"
    again = p.tensor(wide, 0, (1 << 18,), (1,))
    yield p.torch_new(b"](" + shared + again * 200 + b"e", {"0": bytes(1 << 20)}), "far more bytes"


def test_pth(pickles, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, (content, words) in enumerate(checkpoints(pickles)):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(content)
        refused(unpickle.load_torch, path, words)


def test_headers_of_npy(pickles, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = np.zeros(3).tobytes()
    for descr, shape, body, words in (
        ("<f8", "(4,)", numbers, "needs 32"),
        ("<f8", "(3,", numbers, "header"),
        ("<f8", "(3 3,)", numbers, "header"),
        ("<c16", "(3,)", numbers * 2, "no numbers"),
        ("<M8[s]", "(3,)", numbers, "no numbers"),
        ("<f8", f"({1 << 39}, {1 << 39})", numbers, "more numbers"),
        ("|O", "(3,)", numbers, "objects"),
        ("|V8", "(3,)", numbers, "no numbers"),
    ):
        (tmp_path / "a.npy").write_bytes(pickles.npy(body, descr=descr, shape=shape))
        refused(unpickle.load_npy, tmp_path / "a.npy", words)
    for content in (b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\xff\xff{", b"text"):
        (tmp_path / "a.npy").write_bytes(content)
        refused(unpickle.load_npy, tmp_path / "a.npy", "npy|header")
