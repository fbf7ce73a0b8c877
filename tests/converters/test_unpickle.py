"""Files that must be read: what all the writers of arrays write, against what they meant."""

import collections
import io
import pickle
import time

import ml_dtypes
import numpy as np
import pytest

from zero1a_jax.converters.pickles import unpickle

RNG = np.random.default_rng(0)
ARRAYS = {
    "c": RNG.normal(size=(4, 3)),
    "fortran": np.asfortranarray(RNG.normal(size=(4, 3)).astype(np.float32)),
    "big": RNG.integers(0, 99, 5).astype(">i4"),
    "half": RNG.normal(size=3).astype(np.float16),
    "flag": np.array([True, False]),
    "none": np.zeros((0, 3)),
    "alone": np.array(2.5),
    "words": np.array(["ab", "c"]),
    "view": np.arange(12.0).reshape(3, 4)[:, ::2],
}


def same(found, truth):
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize("protocol", range(5))
def test_every_protocol_of_python_3(protocol, tmp_path):
    shared = np.arange(3.0)
    content = {
        **ARRAYS,
        "list": [1, -2, 2**33, True, None, 0.5, "text \u00e4"],
        "tuple": (shared, shared),
        "ordered": collections.OrderedDict(a=1, b=shared),
        7: b"bytes",
        "set": {1, 2},
        "nested": [{"x": [shared]}],
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    found = unpickle.load_pickle(tmp_path / "a.pkl")
    assert list(found) == list(content)
    for key, value in ARRAYS.items():
        same(found[key], value)
    assert found["list"] == content["list"] and found[7] == b"bytes" and found["set"] is None
    same(found["nested"][0]["x"][0], shared)
    assert list(found["ordered"]) == ["a", "b"]
    assert found["tuple"][0] is found["tuple"][1]


def test_protocol_5_says_what_to_do(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(ARRAYS, 5))
    with pytest.raises(unpickle.BadFile, match="protocol 5"):
        unpickle.load_pickle(tmp_path / "a.pkl")


def test_strings_of_python_2(pickles, tmp_path):
    body = b"(dp0\nS'v\\xe9rt'\np1\nI3\nsS'flag'\nI01\nsS'long'\nL12345678901L\nsS'raw'\nS'\\x00\\xff'\ns."
    (tmp_path / "a.pkl").write_bytes(body)
    found = unpickle.load_pickle(tmp_path / "a.pkl")
    assert found == {"v\u00e9rt": 3, "flag": True, "long": 12345678901, "raw": b"\x00\xff"}


@pytest.mark.parametrize("kind", ["csc", "csr"])
def test_sparse_matrices_become_dense(kind, pickles, tmp_path):
    from scipy import sparse

    dense = np.where(RNG.random((5, 7)) < 0.3, RNG.normal(size=(5, 7)), 0)
    for protocol in (2, 4):
        (tmp_path / "a.pkl").write_bytes(
            pickle.dumps({"m": getattr(sparse, f"{kind}_matrix")(dense)}, protocol)
        )
        same(unpickle.load_pickle(tmp_path / "a.pkl")["m"], dense)
    matrix = getattr(sparse, f"{kind}_matrix")(dense)
    body = pickles.sparse((5, 7), matrix.data, matrix.indices, matrix.indptr, kind)
    (tmp_path / "a.pkl").write_bytes(pickles.dump(body))
    same(unpickle.load_pickle(tmp_path / "a.pkl"), dense)


def test_npy_and_npz(tmp_path):
    for name, array in ARRAYS.items():
        np.save(tmp_path / "a.npy", array)
        same(unpickle.load_npy(tmp_path / "a.npy"), array)
        assert unpickle.load_npy(tmp_path / "a.npy").dtype == array.dtype, name
    np.save(tmp_path / "a.npy", np.array({"x": ARRAYS["c"]}, object))
    same(unpickle.load_npy(tmp_path / "a.npy")["x"], ARRAYS["c"])
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **ARRAYS)
        found = unpickle.load_npz(tmp_path / "a.npz")
        assert list(found) == list(ARRAYS)
        for key, value in ARRAYS.items():
            same(found[key], value)


@pytest.mark.parametrize("layout", ["old", "new"])
def test_torch(layout, pickles, tmp_path):
    files, truth = pickles.checkpoint()
    (tmp_path / "a.pth").write_bytes(files[layout])
    found = unpickle.load_torch(tmp_path / "a.pth")
    assert list(found) == list(truth)
    for key, value in truth.items():
        same(found[key], value)
        assert found[key].dtype == value.dtype and not (found[key].size and found[key].flags.writeable)


def test_bfloat16(pickles, tmp_path):
    values = np.array([1.5, -2.0, 0.125], ml_dtypes.bfloat16)
    body = pickles.tensor(pickles.storage("0", "BFloat16Storage", 3), 0, (3,), (1,))
    (tmp_path / "a.pth").write_bytes(pickles.torch_new(body, {"0": values.tobytes()}))
    np.testing.assert_array_equal(
        unpickle.load_torch(tmp_path / "a.pth").astype(np.float32), [1.5, -2.0, 0.125]
    )


def test_tensors_inside_a_pickle(pickles, tmp_path):
    values = np.arange(6.0)
    inner = pickles.torch_old(
        pickles.storage("9", "DoubleStorage", 6, extra=b"N"), {"9": values.tobytes()}, {"9": 6}
    )
    source = pickles.call(pickles.name("torch.storage", "_load_from_bytes"), pickles.data(inner))
    body = pickles.mapping(losses=pickles.tensor(source, 0, (2, 3), (3, 1)))
    (tmp_path / "a.pkl").write_bytes(pickles.dump(body))
    same(unpickle.load_pickle(tmp_path / "a.pkl")["losses"], values.reshape(2, 3))


def test_a_large_checkpoint_opens_at_once(pickles, tmp_path):
    """A storage of 6 GiB, past 32 bits, in a file with a hole: nothing of it may be read."""
    import zipfile

    count = 6 << 28
    body = pickles.tensor(pickles.storage("0", "FloatStorage", count), 0, (6, 1 << 28), (1 << 28, 1))
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickles.dump(body))
        entry = zipfile.ZipInfo("archive/data/0")
        entry.CRC, entry.file_size, entry.compress_size = 0, 4 * count, 4 * count
        entry.header_offset = archive.fp.tell()
        archive.fp.write(entry.FileHeader(zip64=True))
        archive.fp.seek(4 * count, io.SEEK_CUR)
        archive.filelist.append(entry)
        archive.NameToInfo[entry.filename] = entry
        archive.start_dir = archive.fp.tell()
        archive._didModify = True
    assert path.stat().st_size > 4 * count
    begin = time.process_time()
    found = unpickle.load_torch(path)
    assert found.shape == (6, 1 << 28) and found[5, -1] == 0
    assert time.process_time() - begin < 0.5


def test_nothing_there(tmp_path):
    for load in (unpickle.load_pickle, unpickle.load_npy, unpickle.load_npz, unpickle.load_torch):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "none")
        (tmp_path / "empty").write_bytes(b"")
        with pytest.raises(unpickle.BadFile, match="empty"):
            load(tmp_path / "empty")
