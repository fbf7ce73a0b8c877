"""Tables of ARKit's shapes: every layout that is read, and what is refused."""

import numpy as np
import pytest

from zero1a_jax.converters import arkit

LUCK = np.random.default_rng(0)


def scores(folder, **changes):
    """A folder in the layout of mediapipe-blendshapes-to-flame."""
    parts = dict(
        bs2exp=LUCK.normal(size=(52, 50)), bs2jaw=LUCK.normal(size=(52, 3)), bs2eye=LUCK.normal(size=(52, 6))
    )
    for name, array in (parts | changes).items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    return {name: array for name, array in (parts | changes).items()}


def test_names():
    assert len(arkit.NAMES) == 52 and arkit.NAMES[0] == "browDownLeft" and arkit.NAMES[-1] == "tongueOut"
    assert len(arkit.MEDIAPIPE) == 52 and arkit.MEDIAPIPE[25] == "jawOpen"
    assert arkit.MEDIAPIPE[9] == "eyeBlinkLeft" and arkit.MEDIAPIPE[44] == "mouthSmileLeft"


def test_scores(tmp_path):
    parts = scores(tmp_path)
    found = arkit.load(tmp_path)
    assert found.names == arkit.MEDIAPIPE[1:] and found.version == "flame2020" and found.deltas is None
    np.testing.assert_allclose(found.expression, parts["bs2exp"][1:], rtol=1e-6)
    np.testing.assert_allclose(found.jaw, parts["bs2jaw"][1:], rtol=1e-6)
    np.testing.assert_allclose(found.eyes.reshape(51, 6), parts["bs2eye"][1:], rtol=1e-6)


def test_older_scores_hold_the_jaw_behind_the_heads_rotation(tmp_path):
    pose = LUCK.normal(size=(52, 6))
    scores(tmp_path, bs2jaw=None, bs2eye=None, bs2pose=pose)
    found = arkit.load(tmp_path)
    np.testing.assert_allclose(found.jaw, pose[1:, 3:], rtol=1e-6)
    assert not found.eyes.any()


def test_offsets(tmp_path):
    deltas = LUCK.normal(0, 0.01, (52, 5023, 3))
    np.save(tmp_path / "a.npy", deltas)
    found = arkit.load(tmp_path / "a.npy")
    assert found.names == arkit.NAMES and found.version == "" and found.expression is None
    np.testing.assert_allclose(found.deltas, deltas, rtol=1e-6)


def test_names_of_ones_own(tmp_path):
    parts = dict(names=["JAWOPEN", "eyeBlinkLeft"], expression=np.eye(2), eyes=np.ones((2, 6)))
    np.savez(tmp_path / "a.npz", flame_version="flame2023", **parts)
    found = arkit.load(tmp_path / "a.npz")
    assert found.names == ("jawOpen", "eyeBlinkLeft") and found.version == "flame2023"
    assert found.eyes.shape == (2, 2, 3) and not found.jaw.any()


@pytest.mark.parametrize(
    "content, words",
    [
        (dict(expression=np.eye(2)), "names is no list"),
        (dict(names=["jawOpen", "jawopen"], expression=np.eye(2)), "comes twice"),
        (dict(names=["jawOpen", "grin"], expression=np.eye(2)), "'grin' is none of ARKit's shapes"),
        (dict(names=["jawOpen"], expression=np.eye(2)), "expression has the shape"),
        (dict(names=["jawOpen"], expression=np.full((1, 2), np.nan)), "not finite"),
        (dict(names=["jawOpen"], expression=np.eye(1), jaw=np.ones(3)), "jaw has the shape"),
        (dict(names=["jawOpen"], expression=np.eye(1), flame_version=7), "is no text"),
        (dict(names=["jawOpen"]), "expression is missing"),
    ],
)
def test_wrong_tables(content, words, refused, tmp_path):
    np.savez(tmp_path / "a.npz", **content)
    refused(arkit.load, tmp_path / "a.npz", words)


def test_wrong_arrays_and_folders(refused, tmp_path):
    for array, words in (
        (np.zeros((51, 103)), "rows have no names"),
        (np.zeros((51, 5023, 3)), "has the shape"),
        (np.ones((52, 5023, 3)), "in metres"),
        (np.array({"a": 1}, object), "is no array"),
    ):
        np.save(tmp_path / "a.npy", array)
        refused(arkit.load, tmp_path / "a.npy", words)
    (tmp_path / "folder").mkdir()
    refused(arkit.load, tmp_path / "folder", "bs2exp is missing")
    scores(tmp_path / "folder", bs2jaw=np.zeros((52, 2)))
    refused(arkit.load, tmp_path / "folder", "bs2jaw has the shape")
    with pytest.raises(FileNotFoundError, match="no ARKit table"):
        arkit.load(tmp_path / "none")
