"""What people give: framed photos, masks of numbers or inside out, pictures on their side."""

import types

import numpy as np
import pytest
from PIL import Image

from zero1a_jax import heic
from zero1a_jax.errors import NoFace, Refused
from zero1a_jax.preprocess import assets_notes, detect, find_detector, given, load_mask, prepare
from zero1a_jax.preprocess.confidence import HOPELESS, USABLE
from zero1a_jax.preprocess.prepare import _Found, _upright
from zero1a_jax.sources import portraits

SIDE = 120
Y, X = np.mgrid[:SIDE, :SIDE]


def person(shoulders=True):
    head = ((X - 60) / 25) ** 2 + ((Y - 45) / 33) ** 2 < 1
    neck = (abs(X - 60) < 12) & (Y > 60) & (Y < 100)
    return head | neck | ((Y > 95) & (abs(X - 60) < 20 + (Y - 95) * 1.5) & shoulders)


def rounded(radius):
    away = [np.maximum(radius - np.minimum(v + 0.5, SIDE - v - 0.5), 0) for v in (X, Y)]
    return np.hypot(*away) <= radius


FRAMES = {
    "rounded corners": rounded(12),
    "very round corners": rounded(40),
    "a circle": np.hypot(X - 59.5, Y - 59.5) < 60,
    "a small circle": np.hypot(X - 50, Y - 45) < 32,
    "a margin": (X > 9) & (Y > 9),
    "a circle that the edge cuts": np.hypot(X - 50, Y - 25) < 40,
    "a diamond": abs(X - 59.5) + abs(Y - 59.5) < 58,
    "a round top": (Y > 60) | (np.hypot(X - 59.5, Y - 60) < 60),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_no_mattes(name):
    alpha = FRAMES[name].astype(np.float32)
    assert given.is_frame(alpha)
    rgba = np.full((SIDE, SIDE, 4), 90, np.uint8)
    rgba[..., 3] = np.round(alpha * 255)
    rgba[alpha == 0] = 0  # as programs leave it
    picture, known, notes = given.picture_and_matte(rgba, None, None)
    assert known is None and "is a frame" in notes[0]
    assert (picture == 90).all()  # the wall goes on


def head():
    """A head without its neck, turned a little: convex, but wider on one side of its crown."""
    return np.hypot((X - 60 - 8 * np.sin(Y / 45)) / 40, (Y - 60) / (55 + (Y < 60) * X / 12)) < 1


@pytest.mark.parametrize(
    "alpha", [abs(X - 60) < 20, head(), person(), person(False), np.roll(person(), 8, 1), person() & (X < 62)]
)
def test_people_are_mattes(alpha):
    assert not given.is_frame(alpha.astype(np.float32))


def save(path, values):
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("white", [1, 2, 128, 254, 255])
def test_masks_of_numbers(tmp_path, white):
    mask = load_mask(save(tmp_path / "m.png", person() * white), (SIDE, SIDE))
    np.testing.assert_array_equal(mask, person())


def test_masks_of_labels_and_colours(tmp_path):
    labels = person() * (1 + X % 18)
    np.testing.assert_array_equal(load_mask(save(tmp_path / "m.png", labels), (SIDE, SIDE)), person())
    red = np.zeros((SIDE, SIDE, 3))
    red[person(), 0] = 255
    np.testing.assert_array_equal(load_mask(save(tmp_path / "r.png", red), (SIDE, SIDE)), person())
    for values in ((1, 2), (100, 200), (127, 255)):
        two = np.where(person(), values[1], values[0])
        np.testing.assert_array_equal(load_mask(save(tmp_path / "t.png", two), (SIDE, SIDE)), person())
    Image.fromarray(person().astype(np.uint16)).save(tmp_path / "w.png")  # 16 bits
    np.testing.assert_array_equal(load_mask(tmp_path / "w.png", (SIDE, SIDE)), person())
    parts = np.array([[0, 0, 0], [200, 20, 0], [0, 90, 255], [40, 160, 40]])[person() * (1 + X % 3)]
    np.testing.assert_array_equal(load_mask(save(tmp_path / "p.png", parts), (SIDE, SIDE)), person())
    soft = np.clip(X * 2, 0, 255)
    np.testing.assert_allclose(load_mask(save(tmp_path / "s.png", soft), (SIDE, SIDE)), soft / 255)


def face(center=(60.0, 45.0), others=()):
    points = np.asarray(center) + np.random.default_rng(0).uniform(-12, 12, (20, 2))
    return types.SimpleNamespace(points=points, others=others)


def test_a_mask_inside_out_is_turned_round():
    picture, mask = np.zeros((SIDE, SIDE, 3), np.uint8), person().astype(np.float32)
    np.testing.assert_array_equal(given.right_way_round(mask, picture, lambda p: face())[0], mask)
    turned, notes = given.right_way_round(1 - mask, picture, lambda p: face())
    np.testing.assert_array_equal(turned, mask)
    assert "inside out" in notes[0]
    hair = mask.copy()
    hair[:13, 30:90] = 1  # reaches the upper edge
    np.testing.assert_array_equal(given.right_way_round(1 - hair, picture, lambda p: face())[0], hair)
    # Another person's mask: one of the faces is in it.
    two = face((10.0, 10.0), (face(),))
    np.testing.assert_array_equal(given.right_way_round(mask, picture, lambda p: two)[0], mask)
    with pytest.raises(Refused, match="shows nobody"):
        given.right_way_round(0 * mask, picture, lambda p: face())


def found(confidence):
    return _Found(None, None, None, None, types.SimpleNamespace(confidence=confidence))


def test_pictures_on_their_side_are_turned():
    def attempt(turns):
        if turns == 0:
            raise NoFace("none")
        return found(0.5 if turns == 3 else USABLE - 0.01)

    best, notes = _upright(attempt)
    assert best.fitted.confidence == 0.5 and "270 degrees" in notes[0]
    best, notes = _upright(lambda turns: found(0.01 if turns < 2 else 0.4 if turns == 2 else 0.02))
    assert best.fitted.confidence == 0.4 and "180 degrees" in notes[0]


def test_a_hopeless_turn_finds_nobody():
    def attempt(turns):
        if turns == 0:
            raise NoFace("none")
        return found(HOPELESS / 2)

    with pytest.raises(NoFace, match="none"):
        _upright(attempt)
    for own, other in ((0.05, 0.01), (0.11, 0.14)):  # no turn is better enough to be believed
        best, notes = _upright(lambda turns, own=own, other=other: found(other if turns else own))
        assert best.fitted.confidence == own and notes == ()


def test_a_hopeless_fit_stops_unless_accepted(monkeypatch):
    class Reached(Exception):
        pass

    def later(*arguments):
        raise Reached

    import sys

    module = sys.modules["zero1a_jax.preprocess.prepare"]
    fitted = types.SimpleNamespace(confidence=0.05, expected=0.15)
    known = types.SimpleNamespace(faces=1)
    monkeypatch.setattr(module, "_upright", lambda a: (_Found(None, None, None, known, fitted), ()))
    monkeypatch.setattr(module, "_cut_out", later)
    picture = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(Refused, match="15% of the eye distance off: .*--accept_unsure"):
        prepare(picture, model=None, detector=None, accept_unsure=False)
    with pytest.raises(Reached):
        prepare(picture, model=None, detector=None, accept_unsure=True)


def test_assets_without_a_known_file(tmp_path):

    (note,) = assets_notes(tmp_path)
    assert "holds no face_landmarker.task" in note
    (tmp_path / "file").write_text("x")
    with pytest.raises(Refused, match="is a file, not a folder"):
        find_detector(tmp_path / "file")


def test_a_landmarker_of_another_name_is_found(tmp_path):
    import zipfile

    for name, inner in (("a.task", "hand_detector.tflite"), ("b.task", "face_landmarks_detector.tflite")):
        with zipfile.ZipFile(tmp_path / name, "w") as bundle:
            bundle.writestr(inner, b"x")
    (tmp_path / "0.task").write_text("no bundle")
    assert detect.landmarker(tmp_path) == tmp_path / "b.task"


@pytest.mark.parametrize(
    "text, word",
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
        ("\n<!DOCTYPE html><html>log in</html>", "web page"),
    ],
)
def test_what_lies_in_place_of_a_model(tmp_path, text, word):
    (tmp_path / "face_landmarker.task").write_text(text)
    with pytest.raises(Refused, match=word):
        find_detector(tmp_path)


def test_heic_says_which_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(heic, "register", lambda: False)
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    (problem,) = portraits.problems(portraits.Input(image=str(path)))
    assert "pillow-heif" in problem
    with pytest.raises(Refused, match="pillow-heif"):
        given.picture_and_matte(path, None, None)


def test_a_folder_in_place_of_a_mask(tmp_path):
    save(tmp_path / "a.png", np.zeros((64, 64)))
    (problem,) = portraits.problems(portraits.Input(image=str(tmp_path / "a.png"), mask=str(tmp_path)))
    assert "is a folder: --mask needs a picture" in problem
