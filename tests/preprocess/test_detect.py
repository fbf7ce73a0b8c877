"""The detectors on a picture of two synthetic people whose larger face is known point by point."""

import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from zero1a_jax.errors import Refused
from zero1a_jax.preprocess import embedded_detector, find_detector, landmark_net, mediapipe_detector
from zero1a_jax.preprocess.detect import MEDIAPIPE_FILE
from zero1a_jax.preprocess.landmark_net import POINTS, LandmarkNet, decode, flatten, unflatten

FOLDER = Path(__file__).parents[1] / "fixtures" / "preprocess"


@pytest.fixture(scope="module")
def scene():
    with np.load(FOLDER / "two_faces.npz") as stored:
        return np.asarray(Image.open(FOLDER / "two_faces.jpg")), stored["points"], stored["rotation"]


def eyes_apart(points):
    row = {index: k for k, index in enumerate(POINTS)}
    return np.linalg.norm(points[row[33]] - points[row[263]])


def degrees_between(a, b):
    return np.degrees(np.arccos(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1)))


@pytest.fixture(scope="module")
def found(scene):
    return embedded_detector()(scene[0])


def test_the_embedded_net_finds_the_larger_face(scene, found):
    _, points, rotation = scene
    away = np.linalg.norm(found.points - points, axis=-1) / eyes_apart(points)
    assert np.median(away[:105]) < 0.05
    assert degrees_between(found.rotation, rotation) < 12
    assert found.faces >= 2 and found.source == "embedded" and found.confidence > 0
    assert found.ids.tolist() == list(POINTS)


def test_it_follows_size_place_and_turn(scene, found):
    picture, _, _ = scene
    image = Image.fromarray(picture).crop((0, 0, 210, 220)).resize((525, 550), Image.Resampling.BICUBIC)
    turned = image.rotate(-20, Image.Resampling.BICUBIC, fillcolor=(120, 120, 120))  # clockwise
    face = embedded_detector()(np.asarray(turned))
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    middle = np.array([262.5, 275.0])
    wanted = (found.points * 2.5 - middle) @ np.array([[c, s], [-s, c]]) + middle
    away = np.linalg.norm(face.points - wanted, axis=-1) / eyes_apart(wanted)
    assert np.median(away) < 0.06


def test_same_picture_same_answer(scene, found):
    again = embedded_detector()(scene[0])
    assert (again.points == found.points).all() and again.confidence == found.confidence


@pytest.mark.parametrize("kind", ["white", "noise", "gradient"])
def test_no_face_is_said_so(kind):
    rng = np.random.default_rng(0)
    picture = {
        "white": np.full((150, 200, 3), 255),
        "noise": rng.integers(0, 256, (150, 200, 3)),
        "gradient": np.broadcast_to(np.linspace(0, 255, 200)[None, :, None], (150, 200, 3)),
    }[kind]
    with pytest.raises(ValueError, match="No face"):
        embedded_detector()(picture.astype(np.uint8))


def test_weights_are_small_and_travel_as_half_floats():
    params = landmark_net.load()
    arrays = flatten(params)
    assert sum(array.size for array in arrays.values()) <= 700_000
    assert landmark_net.ASSET.stat().st_size < 1_500_000
    assert all(array.dtype == np.float16 for array in arrays.values())
    back = unflatten(arrays)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        assert (np.asarray(a) == np.asarray(b)).all()


def test_outputs_mean_what_they_say():
    params = LandmarkNet().init(jax.random.key(0), np.zeros((1, 128, 128, 3)))["params"]
    crops = np.random.default_rng(0).uniform(size=(3, 128, 128, 3)).astype(np.float32)
    out = landmark_net.apply(params, crops)
    assert out.points.shape == (3, 134, 2) and out.confidence.shape == (3,)
    product = np.einsum("bij,bkj->bik", out.rotation, out.rotation)
    assert np.abs(product - np.eye(3)).max() < 1e-5
    assert np.allclose(np.linalg.det(np.asarray(out.rotation)), 1, atol=1e-5)
    assert np.allclose(decode(np.zeros((1, 275))).points, 64)


def test_without_a_model_file_the_embedded_net_is_taken(tmp_path, monkeypatch, scene):
    monkeypatch.delenv("ZERO1A_ASSETS", raising=False)
    assert find_detector()(scene[0]).source == "embedded"
    assert find_detector(tmp_path)(scene[0]).source == "embedded"


def test_mediapipe_files_that_are_none(tmp_path):
    pytest.importorskip("mediapipe")
    with pytest.raises(ValueError, match="no MediaPipe model"):
        mediapipe_detector(tmp_path / MEDIAPIPE_FILE)
    (tmp_path / MEDIAPIPE_FILE).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a MediaPipe"):
        find_detector(tmp_path)


def test_mediapipe_that_cannot_be_imported_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / MEDIAPIPE_FILE).write_bytes(b"a model")
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(Refused, match="cannot be imported .*pip install mediapipe"):
        mediapipe_detector(tmp_path / MEDIAPIPE_FILE)


def test_mediapipe_finds_the_larger_face(scene):
    pytest.importorskip("mediapipe")
    folder = os.environ.get("ZERO1A_ASSETS", "")
    if not (Path(folder) / MEDIAPIPE_FILE).is_file():
        pytest.skip("needs face_landmarker.task in ZERO1A_ASSETS")
    picture, points, rotation = scene
    face = find_detector(folder)(picture)
    marks, known = face.lookup(np.array(POINTS))
    assert known.all() and face.source == "mediapipe"
    away = np.linalg.norm(marks - points, axis=-1)[:105] / eyes_apart(points)
    assert np.median(away) < 0.05
    assert degrees_between(face.rotation, rotation) < 12
    with pytest.raises(ValueError, match="No face"):
        find_detector(folder)(np.full((100, 120, 3), 200, np.uint8))
