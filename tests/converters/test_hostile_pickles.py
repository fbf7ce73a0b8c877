"""Files that want to run something, to fill the memory or never to end: refused in one sentence, cheaply."""

import os
import pickle
import struct

import numpy as np
import pytest

from zero1a_jax.converters import flame
from zero1a_jax.converters.pickles import unpickle


class Command:
    """What the usual attack pickles."""

    def __reduce__(self):
        return os.system, ("touch boom",)


# A tuple of two of the same, of two of the same, ...: 2^60 things in a few bytes, kept as number 0.
DOUBLED = b")q\x00" + b"h\x00h\x00\x86q\x00" * 60


def encodings(p):
    """One long text, turned into bytes a thousand times."""
    one = p.text("a" * (1 << 20)) + b"q\x01"
    return b"](" + one + (p.name("_codecs", "encode") + b"(h\x01" + p.text("latin1") + b"tR") * 1000 + b"e"


def selections(p):
    """The same million elements, selected a hundred times."""
    few, many = p.numbers(np.zeros(1)), p.numbers(np.zeros(1 << 18, "<i8"))
    state = b"}(" + p.text("a") + b"h\x01" + p.text("idxs") + b"h\x02" + p.text("preferred_shape")
    state += p.group(p.number(1 << 18)) + b"u"
    made = p.name("chumpy.reordering", "Select") + b")\x81" + state + b"b"
    return b"](" + few + b"q\x01" + many + b"q\x02" + made * 100 + b"e"


def empty_matrices(p):
    """Matrices without columns, whose long list of pointers is gone through again and again."""
    pieces = dict(data=p.numbers(np.zeros(0)), indices=p.numbers(np.zeros(0, "<i4")))
    kept = p.numbers(np.zeros((1 << 20) + 1, "<i4")) + b"q\x01"
    state = p.mapping(_shape=p.group(p.number(0), p.number(1 << 20)), **pieces, indptr=b"h\x01")
    return b"](" + kept + (p.name("scipy.sparse.csc", "csc_matrix") + b")\x81" + state + b"b") * 2000 + b"e"


def dense_bombs(p):
    """Empty sparse matrices of modest size each."""
    zero = np.zeros(0)
    one = p.sparse((1 << 20, 1), zero, zero.astype("<i4"), np.zeros(2, "<i4"))
    return p.listed(*[one] * 60)


HOSTILE = {
    "os.system": (lambda p: pickle.dumps({"v_template": Command()}, 2), r"refers to (posix|os)\.system"),
    "os.system, protocol 0": (lambda p: pickle.dumps(Command(), 0), r"\.system"),
    "os.system, protocol 4": (lambda p: pickle.dumps(Command(), 4), r"\.system"),
    "eval": (
        lambda p: p.dump(p.call(p.name("builtins", "eval"), p.text("open('boom','w')"))),
        r"builtins\.eval",
    ),
    "python 2 eval": (
        lambda p: p.dump(p.call(p.name("__builtin__", "eval"), p.text("1"))),
        r"__builtin__\.eval",
    ),
    "getattr": (lambda p: p.dump(p.name("builtins", "getattr")), r"builtins\.getattr"),
    "numpy.load": (lambda p: p.dump(p.call(p.name("numpy", "load"), p.text("boom"))), r"numpy\.load"),
    "dotted name": (
        lambda p: p.dump(p.name("numpy", "core.multiarray._reconstruct")),
        "refers to numpy.core",
    ),
    "dotted by stack": (
        lambda p: p.dump(p.text("numpy"), p.text("ndarray.__class__"), b"\x93", protocol=4),
        "ndarray.__class__",
    ),
    "name of bytes": (lambda p: p.dump(p.data(b"numpy"), p.data(b"dtype"), b"\x93", protocol=4), "no text"),
    "name of numbers": (lambda p: p.dump(p.number(1), p.number(2), b"\x93", protocol=4), "no text"),
    "wrong module of a good name": (lambda p: p.dump(p.name("os", "ndarray")), r"os\.ndarray"),
    "control characters": (lambda p: p.dump(p.name("a\x1b[31m", "b" * 500)), "refers to"),
    "old-style instance": (lambda p: p.dump(b"(ios\nsystem\n"), "INST"),
    "object": (lambda p: p.dump(b"(" + p.name("numpy", "ndarray") + b"o"), "OBJ"),
    "keyword arguments": (lambda p: p.dump(p.name("chumpy.ch", "Ch"), b")}\x92", protocol=4), "NEWOBJ_EX"),
    "extension registry 1": (lambda p: p.dump(b"\x82\x01"), "EXT1"),
    "extension registry 2": (lambda p: p.dump(b"\x83\x01\x00"), "EXT2"),
    "extension registry 4": (lambda p: p.dump(b"\x84\x01\x00\x00\x00"), "EXT4"),
    "persistent id": (lambda p: p.dump(p.text("x"), b"Q"), "persistent"),
    "persistent id of protocol 0": (lambda p: b"Pboom\n.", "PERSID"),
    "unknown operation": (lambda p: p.dump(b"\xff"), "byte 0xff"),
    "copyreg of another class": (
        lambda p: p.dump(
            p.call(
                p.name("copy_reg", "_reconstructor"),
                p.name("numpy", "ndarray"),
                p.name("__builtin__", "object"),
                b"N",
            )
        ),
        "makes an object",
    ),
    "copyreg with a base": (
        lambda p: p.dump(
            p.call(
                p.name("copyreg", "_reconstructor"),
                p.name("chumpy.ch", "Ch"),
                p.name("numpy", "ndarray"),
                p.data(b"x"),
            )
        ),
        "makes an object",
    ),
    "a state for a name": (
        lambda p: p.dump(p.name("chumpy.ch", "Ch"), p.mapping(value=b"N"), b"b"),
        "gives a state",
    ),
    "attributes by slots": (
        lambda p: p.dump(p.name("chumpy.ch", "Ch"), b")\x81", p.group(b"N", p.mapping(fill=b"N")), b"b"),
        "no dictionary",
    ),
    "filled twice": (lambda p: p.dump(p.name("chumpy.ch", "Ch"), b")\x81}b}b"), "twice"),
    "calls an array": (lambda p: p.dump(p.call(p.numbers(np.zeros(1)))), "calls a array"),
    "calls a mere name": (
        lambda p: p.dump(p.call(p.name("numpy", "ndarray"), p.group(p.number(9)))),
        "cannot be called",
    ),
    "a name as data": (lambda p: p.dump(p.listed(p.name("numpy", "ndarray"))), "stands where data"),
    "subclass in reconstruct": (
        lambda p: p.dump(
            p.call(
                p.name("numpy.core.multiarray", "_reconstruct"),
                p.name("chumpy.ch", "Ch"),
                p.group(p.number(0)),
                p.data(b"b"),
            )
        ),
        "numpy does not write",
    ),
    "encode by another codec": (
        lambda p: p.dump(p.call(p.name("_codecs", "encode"), p.text("a"), p.text("zip"))),
        "encodes text",
    ),
    "array of objects": (lambda p: p.dump(p.array((2,), "O8", p.listed(b"N", b"N"))), "holds objects"),
    "dtype with fields": (lambda p: p.dump(p.array((1,), "V8", p.data(b"12345678"))), "no numbers"),
    "dtype of metadata": (
        lambda p: p.dump(
            p.call(p.name("numpy", "dtype"), p.text("f8"))
            + p.group(p.number(4), p.text("<"), b"N", p.group(p.text("a")), p.mapping(a=b"N"))
            + b"b"
        ),
        "described",
    ),
    "huge shape": (
        lambda p: p.dump(p.array((1 << 39, 1 << 20), "f8", p.data(b"12345678"))),
        "needs|more numbers",
    ),
    "huge empty shape": (lambda p: p.dump(p.array((0, 1 << 39, 1 << 39), "f8", p.data(b""))), "more numbers"),
    "negative shape": (lambda p: p.dump(p.array((-1, 8), "f8", p.data(b"12345678"))), "cannot be the shape"),
    "shape of tuples": (
        lambda p: p.dump(p.numbers(np.zeros(3)).replace(b"(K\x03t", b"((K\x03tt")),
        "be the shape",
    ),
    "enormous number": (lambda p: p.dump(b"\x8b" + struct.pack("<I", 1 << 30)), "whole number"),
    "endless digits": (lambda p: b"I" + b"9" * 100_000 + b"\n.", "digits"),
    "length past the end": (
        lambda p: p.dump(b"\x8e" + struct.pack("<Q", 1 << 62), protocol=4),
        "middle of a value",
    ),
    "bytes past the end": (lambda p: p.dump(b"B\xff\xff\xff\x7f"), "middle of a value"),
    "memo bomb": (lambda p: p.dump(b"Nr\xff\xff\xff\x7f" * 1000 + b"j\xff\xff\xff\x7e"), "did not keep"),
    "memo bomb by text": (lambda p: b"Np99999999999\n" * 1000 + b"g1\n.", "did not keep"),
    "deep brackets": (lambda p: p.dump(b"(" * 100_000), "nested more than 100"),
    "deep lists": (lambda p: p.dump(b"]" * 50_000 + b"a" * 49_999), "nested more than 32"),
    "deep arrays": (
        lambda p: p.dump(
            p.name("chumpy.ch", "Ch")
            + b"q\x01"
            + p.text("x")
            + b"q\x02"
            + b"h\x01)\x81}h\x02" * 20_000
            + b"N"
            + b"sb" * 20_000
        ),
        "nested more than 32",
    ),
    "contains itself": (lambda p: p.dump(b"]q\x00h\x00a"), "contains itself"),
    "array of itself": (
        lambda p: p.dump(p.name("chumpy.ch", "Ch"), b")\x81q\x00}", p.text("x"), b"h\x00sb"),
        "contains itself",
    ),
    "many operations": (lambda p: p.dump(b"N" * 1_000_000), "operations"),
    "many sets": (lambda p: p.dump(b"\x8f" * 1_000_000, protocol=4), "operations"),
    "key that hashes for ever": (lambda p: p.dump(DOUBLED + b"}h\x00Ns"), "key of a dictionary"),
    "text that writes for ever": (
        lambda p: p.dump(DOUBLED + p.call(p.name("numpy", "dtype"), b"h\x00")),
        "no numbers",
    ),
    "billions of laughs": (lambda p: p.dump(DOUBLED), "nested more than 32"),
    "encoding bomb": (lambda p: p.dump(encodings(p)), "far more bytes"),
    "selection bomb": (lambda p: p.dump(selections(p)), "far more bytes"),
    "sparse bomb": (
        lambda p: p.dump(p.sparse((1 << 20, 1 << 19), np.zeros(0), np.zeros(0, "<i4"), np.zeros(2, "<i4"))),
        "far more bytes|out of order",
    ),
    "sparse bomb of one column": (
        lambda p: p.dump(p.sparse((1 << 39, 1), np.zeros(0), np.zeros(0, "<i4"), np.zeros(2, "<i4"))),
        "far more bytes",
    ),
    "many empty matrices": (lambda p: p.dump(empty_matrices(p)), "far more bytes"),
    "a long name of a type": (
        lambda p: p.dump(p.call(p.name("numpy", "dtype"), p.data(b"f8" * (1 << 20)))),
        "a bytes",
    ),
    "many dense matrices": (lambda p: p.dump(dense_bombs(p)), "far more bytes"),
    "sparse index outside": (
        lambda p: p.dump(p.sparse((5, 2), np.ones(2), np.array([0, 5], "<i4"), np.array([0, 1, 2], "<i4"))),
        "outside",
    ),
    "sparse index below": (
        lambda p: p.dump(p.sparse((5, 2), np.ones(2), np.array([0, -1], "<i4"), np.array([0, 1, 2], "<i4"))),
        "outside",
    ),
    "sparse pointers": (
        lambda p: p.dump(p.sparse((5, 2), np.ones(2), np.array([0, 1], "<i4"), np.array([0, 9, 2], "<i4"))),
        "out of order",
    ),
    "sparse pointers past the end": (
        lambda p: p.dump(p.sparse((5, 2), np.ones(2), np.array([0, 1], "<i4"), np.array([0, 1, 9], "<i4"))),
        "lengths",
    ),
    "two pickles": (lambda p: p.dump(b"N") + p.dump(p.name("os", "system")), "follow the end"),
    "nothing on the stack": (lambda p: p.dump(b""), "takes more than it made"),
    "bracket not opened": (lambda p: p.dump(b"t"), "did not open"),
    "appends to a tuple": (lambda p: p.dump(b")(Ne"), "no list"),
    "adds to a list as to a dictionary": (lambda p: p.dump(b"](NNu"), "no dict"),
    "torch inside: another magic": (
        lambda p: p.dump(p.call(p.name("torch.storage", "_load_from_bytes"), p.data(pickle.dumps(1, 2) * 5))),
        "laid out as torch",
    ),
    "torch inside: a command": (
        lambda p: p.dump(
            p.call(p.name("torch.storage", "_load_from_bytes"), p.data(pickle.dumps(Command(), 2)))
        ),
        r"\.system",
    ),
    "torch inside torch": (
        lambda p: p.dump(
            p.call(
                p.name("torch.storage", "_load_from_bytes"),
                p.data(p.dump(p.call(p.name("torch.storage", "_load_from_bytes"), p.data(b"")))),
            )
        ),
        "_load_from_bytes",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_pickles(kind, pickles, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, words = HOSTILE[kind]
    body = make(pickles)
    for name, load, content in (
        ("flame.pkl", flame.load, body),
        ("a.npy", unpickle.load_npy, pickles.npy(body)),
    ):
        (tmp_path / name).write_bytes(content)
        refused(load, tmp_path / name, words)


def test_there_are_many_kinds():
    assert len(HOSTILE) > 60
