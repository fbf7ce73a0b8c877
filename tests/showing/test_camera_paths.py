"""Camera paths: where they lead, what frames they fill, what is refused."""

import json

import numpy as np
import pytest

from zero1a_jax.errors import Refused
from zero1a_jax.geometry import project
from zero1a_jax.showing import animation, camera_paths


def test_named_paths():
    assert (camera_paths.path("fixed", 3, 25) == [0, 0, 1]).all()
    assert camera_paths.path("orbit", 201, 25)[200, 0] == pytest.approx(360)
    sway = camera_paths.path("sway", 101, 25)[:, 0]
    assert sway.max() == pytest.approx(20) and sway.min() == pytest.approx(-20) and abs(sway[100]) < 1e-9


def test_files_of_both_kinds_agree_and_the_last_row_holds(tmp_path):
    rows = [{"yaw": 0, "pitch": 5, "radius": 1.0}, {"yaw": 30, "pitch": -5, "radius": 0.8}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.json").write_text(json.dumps({"yaw": [0, 30], "pitch": [5, -5], "radius": [1, 0.8]}))
    (tmp_path / "c.csv").write_text("Yaw,pitch, radius\n0,5,1\n30,-5,0.8\n")
    for name in ("a.json", "b.json", "c.csv"):
        found = camera_paths.path(str(tmp_path / name), 4, 25)
        np.testing.assert_allclose(found, [[0, 5, 1], [30, -5, 0.8], [30, -5, 0.8], [30, -5, 0.8]])


@pytest.mark.parametrize(
    "text, said",
    [
        ("a,b\n1,2\n", "names none"),
        ("yaw\nx\n", "no camera path"),
        ("pitch\n95\n", "row 1"),
        ("yaw\n", "no rows"),
    ],
)
def test_bad_files_are_refused(text, said, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(Refused, match=said):
        camera_paths.load(str(tmp_path / "a.csv"))


def test_frames_need_not_be_square():
    target = np.array([0.0, 0.1, 0.0], np.float32)
    camera = camera_paths.cameras(target, camera_paths.path("sway", 3, 25), 64, 96)
    assert (camera.width, camera.height) == (64, 96)
    where, depth = project(camera, np.tile(target, (3, 1, 1)))
    np.testing.assert_allclose(where[:, 0], [[32, 48]] * 3, atol=1e-3)
    np.testing.assert_allclose(depth, 1.0, atol=1e-5)
    square = camera_paths.cameras(target, camera_paths.path("sway", 3, 25), 64, 64)
    np.testing.assert_array_equal(square.focal, camera.focal)


@pytest.mark.parametrize("text", ["8", "512x", "4000", "64x64x64", "-64", "big"])
def test_bad_sizes_are_refused(text):
    with pytest.raises(Refused, match="--size"):
        camera_paths.size_of(text)


def test_straight_alpha_composites_back():
    random = np.random.default_rng(0)
    colour, alpha = random.uniform(size=(8, 8, 3)), random.uniform(0.2, 1, size=(8, 8))
    back = animation.straight((colour * alpha[..., None]).astype(np.float32), alpha.astype(np.float32))
    np.testing.assert_allclose(back[..., :3] / 255, colour, atol=0.003)
    np.testing.assert_allclose(back[..., 3] / 255, alpha, atol=0.003)
    assert (animation.straight(np.zeros((2, 2, 3)), np.zeros((2, 2))) == 0).all()
