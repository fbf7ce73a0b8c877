"""Cameras along a path."""

import numpy as np
import pytest

from zero1a_jax.errors import Refused
from zero1a_jax.geometry import position
from zero1a_jax.showing.camera_paths import cameras

TARGET = np.array([0.0, 0.1, 0.0], np.float32)


def places(path, count, **given):
    """Of the cameras, relative to the target, [T, 3]."""
    return (
        np.asarray(position(cameras(path, TARGET, count, **{"fps": 25.0, "size": (64, 64)} | given))) - TARGET
    )


def test_still_to_and_fro_and_around():
    np.testing.assert_allclose(places("front", 3), [[0, 0, 1]] * 3, atol=1e-6)
    sway = np.degrees(np.arctan2(*places("sway", 100)[:, [0, 2]].T))
    np.testing.assert_allclose([sway[25], sway[50], sway[75]], [20, 0, -20], atol=1e-3)
    orbit = places("orbit", 201)
    np.testing.assert_allclose(
        orbit[[0, 50, 100, 200]], [[0, 0, 1], [1, 0, 0], [0, 0, -1], [0, 0, 1]], atol=1e-5
    )


def test_a_table_goes_straight_between_its_rows(tmp_path):
    table = tmp_path / "path.csv"
    table.write_text("seconds;yaw;distance\n1,0;0;1\n2,0;90;2\n")
    found = places(table, 60, fps=20.0)
    assert np.linalg.norm(found[10]) == pytest.approx(1.5, abs=1e-5)
    assert np.degrees(np.arctan2(found[10, 0], found[10, 2])) == pytest.approx(45, abs=1e-3)
    np.testing.assert_allclose(found[20:], [[2, 0, 0]] * 40, atol=1e-5)


def test_a_picture_may_be_wide(tmp_path):
    wide = cameras("front", TARGET, 1, fps=25.0, size=(96, 64))
    square = cameras("front", TARGET, 1, fps=25.0, size=(64, 64))
    assert (wide.width, wide.height) == (96, 64)
    np.testing.assert_array_equal(wide.focal, square.focal)
    np.testing.assert_array_equal(wide.center, [[48, 32]])


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("a,b\n1,2\n", "none of the columns"),
        ("yaw,pitch\n1,\n", "row 2: no pitch"),
        ("yaw,pitch\n1,x\n", "is no number"),
        ("seconds,yaw\n1,2\n1,3\n", "do not grow"),
        ("pitch\n85\n", "within 80 degrees"),
        ("distance\n0.1\n", "above 0.3"),
    ],
)
def test_a_wrong_table_is_a_sentence(text, sentence, tmp_path):
    (tmp_path / "path.csv").write_text(text)
    with pytest.raises(Refused, match=sentence):
        places(tmp_path / "path.csv", 3)
    with pytest.raises(FileNotFoundError, match="front, sway, orbit"):
        places(tmp_path / "other.csv", 3)
