"""FLAME motions from .npz: GaussianAvatars' and VHAP's layouts."""

import os
from pathlib import Path

import numpy as np
import pytest

from zero1a_jax.converters import flame_npz

FIXTURES = (
    Path(os.environ.get("ZERO1A_FIXTURES", Path(__file__).parents[1] / "fixtures")) / "flame" / "drivers"
)
FILES = sorted(path.name for path in FIXTURES.glob("*.npz") if "expected" not in path.name)
FIELDS = {"neck_pose": "neck", "jaw_pose": "jaw", "rotation": "rotation", "translation": "translation"}


def check(flame, truth, row=slice(None)):
    np.testing.assert_array_equal(flame.expression[row], truth["expr"])
    np.testing.assert_array_equal(flame.shape[row], np.broadcast_to(truth["shape"], flame.shape[row].shape))
    np.testing.assert_array_equal(flame.eyes[row].reshape(-1, 6), truth["eyes_pose"])
    for name, field in FIELDS.items():
        np.testing.assert_array_equal(getattr(flame, field)[row], truth[name].astype(np.float32))


@pytest.mark.parity
def test_there_are_reference_files():
    assert FILES, f"no .npz in {FIXTURES}"


@pytest.mark.parity
@pytest.mark.parametrize("name", FILES)
def test_reads_every_layout(name):
    motion = flame_npz.load(FIXTURES / name, fps=24.0)
    with np.load(FIXTURES / name) as truth:
        check(motion.flame, truth)
        assert motion.flame.eyes.shape == (len(truth["expr"]), 2, 3)
    assert motion.fps == 24 and motion.flame_version == "unknown" and motion.camera is None
    assert all(value.dtype == np.float32 for value in vars(motion.flame).values())


@pytest.mark.parity
def test_a_folder_is_one_sequence(tmp_path):
    singles = sorted(FIXTURES.glob("vhap_frame_*.npz"))
    assert singles
    for path in singles:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    motion = flame_npz.load(tmp_path)
    for row, path in enumerate(singles):
        with np.load(path) as truth:
            check(motion.flame, truth, slice(row, row + 1))


def arrays(frames=4):
    rng = np.random.default_rng(0)
    widths = {"expr": 6, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "translation": 3, "eyes_pose": 6}
    data = {name: rng.normal(size=(frames, width)).astype(np.float32) for name, width in widths.items()}
    return {"shape": rng.normal(size=5).astype(np.float32), **data}


def test_left_eye_comes_first(tmp_path):
    np.savez(tmp_path / "a.npz", **{**arrays(1), "eyes_pose": np.arange(6.0)[None]})
    eyes = flame_npz.load(tmp_path / "a.npz").flame.eyes
    np.testing.assert_array_equal(eyes, [[[0, 1, 2], [3, 4, 5]]])


def test_round_trip(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    motion = flame_npz.load(tmp_path / "a.npz", fps=12.5, flame_version="tiny")
    flame_npz.save(tmp_path / "b.npz", motion)
    again = flame_npz.load(tmp_path / "b.npz")
    assert again.fps == 12.5 and again.flame_version == "tiny"
    for name, value in vars(motion.flame).items():
        np.testing.assert_array_equal(getattr(again.flame, name), value)
    changing = motion.replace(flame=motion.flame.replace(shape=motion.flame.shape * np.arange(4)[:, None]))
    with pytest.raises(ValueError, match="shape"):
        flame_npz.save(tmp_path / "c.npz", changing)


class Bomb:
    """Unpickling this would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(tmp_path):
    data = arrays()
    data["expr"] = np.array([Bomb(tmp_path / "boom")], dtype=object)
    np.savez(tmp_path / "a.npz", **data)
    with pytest.raises(ValueError, match="plain .npz"):
        flame_npz.load(tmp_path / "a.npz")
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"jaw_pose": None}, "jaw_pose"),
        ({"jaw_pose": np.zeros((3, 3))}, "jaw_pose"),
        ({"eyes_pose": np.zeros((4, 3))}, "eyes_pose"),
        ({"expr": np.zeros(6)}, "expr"),
        ({"expr": np.zeros((0, 6))}, "expr"),
        ({"expr": np.full((4, 6), np.nan)}, "finite"),
        ({"neck_pose": np.full((4, 3), "a")}, "neck_pose"),
        ({"shape": np.zeros((3, 5))}, "shape"),
    ],
)
def test_bad_arrays_are_named(change, words, tmp_path):
    data = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    np.savez(tmp_path / "bad.npz", **data)
    with pytest.raises(ValueError, match=words) as caught:
        flame_npz.load(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04}.", b"text"])
def test_files_of_another_kind(content, tmp_path):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(ValueError, match="bad.npz"):
        flame_npz.load(tmp_path / "bad.npz")


def test_a_bare_array_is_no_motion(tmp_path):
    with open(tmp_path / "bad.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="bad.npz"):
        flame_npz.load(tmp_path / "bad.npz")


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        flame_npz.load(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError):
        flame_npz.load(tmp_path)


def test_frames_of_different_sizes_are_no_sequence(tmp_path):
    np.savez(tmp_path / "0.npz", **arrays(1))
    np.savez(tmp_path / "1.npz", **{**arrays(1), "expr": np.zeros((1, 9))})
    with pytest.raises(ValueError, match="different sizes"):
        flame_npz.load(tmp_path)
