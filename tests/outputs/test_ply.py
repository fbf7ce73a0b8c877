"""Gaussian .ply files: GaussianAvatars' layout byte for byte, and clear words about everything else."""

import os
from pathlib import Path

import numpy as np
import plyfile
import pytest

from zero1a_jax.outputs import ply
from zero1a_jax.types import Gaussians

FIXTURES = Path(os.environ.get("ZERO1A_FIXTURES", Path(__file__).parents[1] / "fixtures")) / "flame" / "ply"
CASES = sorted(path.stem for path in FIXTURES.glob("*.ply"))


def make(count=7, degree=1, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "means": (3,),
        "log_scales": (3,),
        "quats": (4,),
        "sh": ((degree + 1) ** 2, 3),
        "opacity_logits": (),
    }
    return Gaussians(**{name: rng.normal(size=(count, *s)).astype(np.float32) for name, s in shapes.items()})


@pytest.mark.parity
def test_there_are_reference_files():
    assert CASES, f"no .ply in {FIXTURES}"


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_reads_what_gaussianavatars_wrote(case):
    gaussians, face_ids = ply.load(FIXTURES / f"{case}.ply")
    with np.load(FIXTURES / f"{case}.npz") as truth:
        np.testing.assert_array_equal(gaussians.means, truth["xyz"])
        np.testing.assert_array_equal(gaussians.log_scales, truth["scaling"])
        np.testing.assert_array_equal(gaussians.quats, truth["rotation"])
        np.testing.assert_array_equal(gaussians.opacity_logits, truth["opacity"][:, 0])
        sh = np.concatenate([truth["f_dc"], truth["f_rest"]], axis=1)
        np.testing.assert_array_equal(gaussians.sh, sh)
        np.testing.assert_array_equal(face_ids, truth["binding"])


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_file_is_byte_equal_after_a_round_trip(case, tmp_path):
    source = FIXTURES / f"{case}.ply"
    ply.save(tmp_path / "again.ply", *ply.load(source))
    assert (tmp_path / "again.ply").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("bound", [False, True])
def test_round_trip(degree, bound, tmp_path):
    gaussians = make(degree=degree)
    ids = np.array([3, 0, 3, 2**24 - 1, 5, 5, 9]) if bound else None
    ply.save(tmp_path / "new" / "a.ply", gaussians, ids)
    loaded, loaded_ids = ply.load(tmp_path / "new" / "a.ply")
    for name, value in vars(gaussians).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    assert loaded_ids is None if ids is None else (loaded_ids == ids).all() and loaded_ids.dtype == np.int32


def test_harmonics_are_filled_up_for_viewers_that_insist_on_them(tmp_path):
    gaussians = make(degree=1)
    ply.save(tmp_path / "a.ply", gaussians, degree=3)
    loaded, _ = ply.load(tmp_path / "a.ply")
    np.testing.assert_array_equal(loaded.sh[:, :4], gaussians.sh)
    assert loaded.sh.shape == (7, 16, 3) and not loaded.sh[:, 4:].any()
    ply.save(tmp_path / "b.ply", make(degree=2), degree=1)  # none are cut off
    assert ply.load(tmp_path / "b.ply")[0].sh.shape == (7, 9, 3)


def test_another_library_sees_the_same_columns(tmp_path):
    gaussians = make(degree=2)
    ply.save(tmp_path / "a.ply", gaussians, np.arange(7))
    vertex = plyfile.PlyData.read(tmp_path / "a.ply")["vertex"]
    assert [p.name for p in vertex.properties] == ply.property_names(24, True)
    # f_rest is all of red, then green, then blue: the 3rd green coefficient is column 8 + 2.
    np.testing.assert_array_equal(vertex["f_rest_10"], gaussians.sh[:, 3, 1])
    assert not any(vertex[name].any() for name in ("nx", "ny", "nz"))


@pytest.mark.parametrize("text, order", [(True, "="), (False, ">")])
def test_reads_text_and_big_endian_with_columns_shuffled(text, order, tmp_path):
    gaussians = make(degree=0)
    ply.save(tmp_path / "a.ply", gaussians, np.arange(7))
    data = np.asarray(plyfile.PlyData.read(tmp_path / "a.ply")["vertex"].data)
    names = list(reversed(data.dtype.names))
    shuffled = np.array(list(zip(*(data[n] for n in names), strict=True)), dtype=[(n, "f8") for n in names])
    element = plyfile.PlyElement.describe(shuffled, "vertex")
    plyfile.PlyData([element], text=text, byte_order=order).write(tmp_path / "b.ply")
    loaded, ids = ply.load(tmp_path / "b.ply")
    np.testing.assert_allclose(loaded.means, gaussians.means, rtol=1e-6)
    np.testing.assert_array_equal(ids, np.arange(7))


def rewritten(tmp_path, change):
    """A good file, changed as bytes."""
    ply.save(tmp_path / "good.ply", make(degree=0), np.arange(7))
    (tmp_path / "bad.ply").write_bytes(change((tmp_path / "good.ply").read_bytes()))
    return tmp_path / "bad.ply"


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda b: b"", "does not start"),
        (lambda b: b"\x89PNG" + b, "does not start"),
        (lambda b: b[:200], "header does not end"),
        (lambda b: b[:-5], "not a readable"),
        (lambda b: b.replace(b"vertex 7", b"vertex 700000000000"), "does not fit"),
        (lambda b: b.replace(b"vertex 7", b"vertex -7"), "does not fit"),
        (lambda b: b.replace(b"vertex 7", b"points 7"), "no 'vertex'"),
        (lambda b: b.replace(b"float opacity", b"float opacitX"), "lacks the columns opacity"),
        (lambda b: b.replace(b"float nx", b"float f_rest_0"), "f_rest"),
        (lambda b: b.replace(b"float scale_0", b"list uchar float scale_0"), ".ply"),
        (lambda b: b.replace(b"float nx", b"uint packed_position"), "compressed"),
        (lambda b: b[:-4] + np.float32(0.5).tobytes(), "whole numbers"),
        (lambda b: b[:-4] + np.float32(-1).tobytes(), "outside"),
        (lambda b: b[:-8] + np.float32(np.nan).tobytes() + b[-4:], "not finite"),
        (lambda b: b[:-20] + bytes(16) + b[-4:], "zero quaternion"),
    ],
)
def test_bad_files_are_refused_in_words(change, words, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        ply.load(rewritten(tmp_path, change))
    assert "bad.ply" in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        ply.load(tmp_path / "none.ply")


@pytest.mark.parametrize(
    "change, ids, words",
    [
        ({"means": np.zeros((6, 3))}, None, "shape"),
        ({"sh": np.zeros((7, 2, 3))}, None, "K of 1, 4, 9 or 16"),
        ({"log_scales": np.full((7, 3), np.nan)}, None, "not finite"),
        ({"quats": np.zeros((7, 4))}, None, "zero quaternion"),
        ({}, np.arange(6), "face_ids"),
        ({}, np.arange(7.0), "integers"),
        ({}, np.arange(7) - 1, "face_ids"),
        ({}, np.arange(7) + 2**24, "face_ids"),
    ],
)
def test_save_refuses_what_would_not_load(change, ids, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        ply.save(tmp_path / "a.ply", make().replace(**change), ids)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    ply.save(tmp_path / "a.ply", make(seed=1))
    before = (tmp_path / "a.ply").read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        ply.save(tmp_path / "a.ply", make(seed=2))
    assert (tmp_path / "a.ply").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]
