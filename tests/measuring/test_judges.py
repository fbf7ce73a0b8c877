"""Judges: what they say of pictures whose answer is known, and what is refused."""

import dataclasses

import numpy as np
import pytest

from zero1a_jax.errors import NoFace, Refused
from zero1a_jax.measuring import judges
from zero1a_jax.measuring.judges import Asked
from zero1a_jax.preprocess.detect import Detection

PICTURE = np.full((32, 32, 3), 0.5, np.float32)
OTHER = np.full((32, 32, 3), 0.25, np.float32)


def face(**more):
    points = np.array([[4, 4], [20, 4], [4, 29]], np.float32)  # a box of 16 x 25
    values = {"points": points, "ids": np.arange(3), "rotation": np.eye(3), "scores": {"jawOpen": 0.2}}
    return Detection(**values | more, confidence=1.0, faces=1, source="test")


def detector(found, lost=()):
    """A detector that tells pictures by their grey."""

    def detect(picture):
        grey = int(picture[0, 0, 0])
        if grey in lost:
            raise NoFace("none")
        return found[grey]

    return detect


def test_what_a_detector_sees():
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    moved = face(points=face().points + [3.0, 4.0], rotation=turn, scores={"jawOpen": 0.5, "cheekPuff": 1.0})
    judge = judges.seen(detector({128: moved, 64: face()}))
    found = judge(PICTURE, OTHER, None)
    assert found["detected"] == 1
    assert found["detected_landmarks"] == pytest.approx(5 / 20)  # over the side of a square as large
    assert found["detected_expression"] == pytest.approx(0.3)  # of the shapes that both have
    assert found["detected_pose"] == pytest.approx(10, abs=1e-5)
    same = judge(OTHER, OTHER, None)
    assert same["detected_landmarks"] == 0 and same["detected_pose"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("lost", [128, 64])
def test_a_face_that_is_not_found(lost):
    judge = judges.seen(detector({128: face(), 64: face()}, lost={lost}))
    found = judge(PICTURE, OTHER, None)
    assert found == {
        "detected": 0, "detected_landmarks": None, "detected_expression": None, "detected_pose": None,
    }  # fmt: skip


def test_a_detector_without_scores():
    plain = dataclasses.replace(face(), scores={})
    assert judges.seen(detector({128: plain, 64: plain}))(PICTURE, OTHER, None)["detected_expression"] is None


def test_identity():
    judge = judges.identity(lambda picture: [1.0, 0.0] if picture[0, 0, 0] > 0.4 else [3.0, 3.0])
    assert judge(PICTURE, PICTURE, None)["face_identity"] == pytest.approx(1)
    assert judge(PICTURE, OTHER, None)["face_identity"] == pytest.approx(np.sqrt(0.5))
    assert judges.identity(lambda picture: None)(PICTURE, OTHER, None)["face_identity"] is None
    with pytest.raises(Refused, match="--face_embedding: ZeroDivisionError"):
        judges.identity(lambda picture: 1 / 0)(PICTURE, OTHER, None)


def test_lpips_over_the_head_and_over_the_frame(monkeypatch):
    """What differs outside of the mask counts for the frame alone."""
    rng, widths = np.random.default_rng(0), (3, *(4,) * 13)
    shapes = [(3, 3, a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
    loaded = {
        "kernels": [rng.normal(size=s).astype(np.float32) for s in shapes],
        "biases": [np.zeros(4, np.float32)] * 13,
        "linear": [np.ones(4, np.float32)] * 5,
    }
    monkeypatch.setattr(judges.lpips_files, "load", lambda path: loaded)
    (judge,) = judges.asked(Asked(lpips="weights")).values()
    picture, mask = rng.random((64, 64, 3)).astype(np.float32), np.zeros((64, 64), bool)
    mask[:16, :16] = True
    other = picture.copy()
    other[60:, 60:] = 0.0
    found = judge(other, picture, mask)
    assert found["lpips_frame"] > 2 * found["lpips"] >= 0  # the deepest features still see far
    assert judge(picture, picture, mask) == {"lpips": 0, "lpips_frame": 0}


def test_the_users_own_embedding_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_embedding.py").write_text("def embed(picture):\n    return picture.mean((0, 1))\n")
    monkeypatch.chdir(tmp_path)
    (judge,) = judges.asked(Asked(face_embedding="my_embedding:embed")).values()
    assert judge(PICTURE, OTHER, None)["face_identity"] == pytest.approx(1)
    for text, message in (
        ("my_embedding:none", "AttributeError"),
        ("no_such_module:embed", "ModuleNotFoundError"),
        ("embed", "module:function"),
    ):
        with pytest.raises(Refused, match=f"--face_embedding={text}: .*{message}"):
            judges.asked(Asked(face_embedding=text))


def test_each_judge_is_named_by_a_figure_of_its_own(clip_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "find_detector", lambda assets: detector({128: face(), 64: face()}))
    folder = clip_folder.write(tmp_path / "clip")
    for asked in (Asked(clip=str(folder)), Asked(clip=str(folder), text="a face"), Asked(detect=True)):
        ((name, judge),) = judges.asked(asked).items()
        assert name in judge(PICTURE, OTHER, None)  # else every pair would be measured again


def test_what_is_refused(tmp_path):
    for asked, message in (
        (Asked(text="a man"), "give --clip"),
        (Asked(clip=str(tmp_path)), "lacks config.json"),
        (Asked(lpips=str(tmp_path)), "--lpips_weights: .* lacks vgg16"),
    ):
        with pytest.raises(Refused, match=message):
            judges.asked(asked)
