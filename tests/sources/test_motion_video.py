"""Films of faces as recordings, with a landmarker that knows the answer."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zero1a_jax.converters.arkit import NAMES
from zero1a_jax.errors import Refused
from zero1a_jax.preprocess.detect import Detection
from zero1a_jax.sources import motion_video, motions

PUCKER = NAMES.index("mouthPucker")


def face(pucker=0.0, yaw=0.0, pitch=0.0, at=(60.0, 60.0), side=40.0, **scores):
    points = np.asarray(at) + side * (np.stack([np.linspace(0, 1, 478)] * 2, -1) - 0.5)
    turned = Rotation.from_euler("YXZ", [yaw, pitch, 0.0]).as_matrix()
    values = dict.fromkeys(NAMES, 0.0) | {"mouthPucker": pucker} | scores
    return Detection(points.astype(np.float32), np.arange(478), turned, 1.0, values, 1, "fake")


def watch(shown, seconds=None, pictures=None, **options):
    """The recording of a film whose frame t shows the faces shown[t]."""
    seconds = np.arange(len(shown)) / 25 if seconds is None else seconds
    pictures = [np.zeros((120, 200, 3), np.uint8)] * len(shown) if pictures is None else pictures
    now = -1

    def film():
        nonlocal now
        for now, item in enumerate(zip(seconds, pictures, strict=True)):  # noqa: B007
            yield item

    return motion_video.watched(film(), lambda *_: shown[now], path="a.mp4", rate=25.0, **options)


def talk(count):
    return 0.4 + 0.4 * np.sin(2 * np.pi * np.arange(count) / 50 - np.pi / 2)


def test_a_take_becomes_a_recording():
    yaw = np.radians(15) * np.sin(np.arange(100) / 16)
    found = watch([[face(pucker, 0.3 + turn, 0.1)] for pucker, turn in zip(talk(100), yaw, strict=True)])
    assert found.fps == 25 and found.notes == () and set(found.names) == set(NAMES)
    pucker = found.weights[:, found.names.index("mouthPucker")]
    assert np.corrcoef(pucker, talk(100))[0, 1] > 0.99 and pucker.min() < 0.05 and pucker.max() > 0.6
    # the camera looked at the head from the side: what counts is how it turns from its own middle
    np.testing.assert_allclose(found.rotations[:, 0], yaw - np.median(yaw), atol=np.radians(2))
    assert np.abs(found.rotations[:, 1]).max() < np.radians(1)


def test_frames_without_a_face_are_bridged():
    pucker = talk(100)
    found = watch([[] if 30 <= t < 42 or t < 3 or t > 95 else [face(pucker[t])] for t in range(100)])
    assert found.notes == ("19 of 100 frames without the face were bridged.",)
    assert found.seconds[0] == 0 and found.seconds[-1] == pytest.approx(99 / 25)
    grid = np.interp(np.arange(100) / 25, found.seconds, found.weights[:, PUCKER])
    assert np.abs(np.diff(grid)).max() < 1.5 * np.abs(np.diff(pucker)).max()
    with pytest.raises(Refused, match="a face was found in 9 of 30 frames"):
        watch([[face()] if t < 9 else [] for t in range(30)])


def test_one_face_is_followed():
    """A larger one comes by, the order changes, the followed one is hidden: none of them makes it jump."""
    shown = []
    for t in range(100):
        mine = face(0.1, 0.1, at=(50 + 0.3 * t, 60), side=40)
        other = face(0.9, -0.6, at=(150, 60), side=60)
        there = [mine] if t < 20 else [other] if 50 <= t < 60 else [other, mine] if t % 2 else [mine, other]
        shown.append(there)
    found = watch(shown)
    assert np.ptp(found.weights[:, PUCKER]) < 1e-6 and np.ptp(found.rotations) < 1e-6
    assert any("several faces" in note for note in found.notes)
    first = watch([[face(0.1, side=30), face(0.8, side=50, at=(150, 60))]] * 30, from_rest=False)
    np.testing.assert_allclose(first.weights[:, PUCKER], 0.8)  # the larger one to start with


def test_a_cut_makes_no_jump_and_no_ringing():
    dark, light = np.zeros((120, 200, 3), np.uint8), np.full((120, 200, 3), 200, np.uint8)
    shown = [[face(0.1, 0.4, at=(60, 60)) if t < 60 else face(0.7, -0.4, at=(140, 50))] for t in range(120)]
    found = watch(shown, pictures=[dark] * 60 + [light] * 60, from_rest=False)
    assert found.notes == ("1 cut or changes of the face were eased over.",)
    pucker = found.weights[:, PUCKER]
    assert (np.diff(pucker) >= -1e-9).all() and np.abs(np.diff(pucker)).max() < 0.12
    np.testing.assert_allclose(pucker[[0, 50, 70, 119]], [0.1, 0.1, 0.7, 0.7], atol=1e-6)
    assert np.abs(found.rotations).max() < 1e-6  # another camera is no turn of the head


def test_times_and_the_neutral_frame():
    seconds = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, 100))
    seconds -= seconds[0]
    wave = 0.5 + 0.3 * np.sin(2 * np.pi * seconds)
    found = watch([[face(pucker, 0.2)] for pucker in wave], seconds, from_rest=False)
    np.testing.assert_array_equal(found.seconds, seconds)
    assert np.corrcoef(found.weights[:, PUCKER], wave)[0, 1] > 0.97
    turns = np.linspace(0, 0.5, 100)
    found = watch([[face(0.2, turn)] for turn in turns], neutral=0.0)
    np.testing.assert_allclose(found.rotations[[0, -1], 0], [0, 0.5], atol=0.06)
    with pytest.raises(Refused, match="neutral time 60 s"):
        watch([[face()]] * 30, neutral=60.0)


def test_gaze_comes_from_both_eyes():
    look = 0.5 * np.sin(np.arange(80) / 6)
    shown = [
        [face(eyeLookOutLeft=max(x, 0) + 0.2, eyeLookInLeft=max(-x, 0), eyeLookInRight=max(x, 0) + 0.2,
              eyeLookOutRight=max(-x, 0))]
        for x in look
    ]  # fmt: skip
    found = watch(shown)
    column = {name: found.weights[:, k] for k, name in enumerate(found.names)}
    left = column["eyeLookOutLeft"] - column["eyeLookInLeft"]
    np.testing.assert_allclose(left, column["eyeLookInRight"] - column["eyeLookOutRight"], atol=1e-9)
    assert np.corrcoef(left, look)[0, 1] > 0.99 and abs(np.median(left)) < 0.05


def test_without_the_model_it_says_what_is_missing(tmp_path, tiny, monkeypatch):
    from zero1a_jax import outputs

    monkeypatch.delenv("ZERO1A_ASSETS", raising=False)
    outputs.video.write(tmp_path / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8), 25)
    with pytest.raises(
        Refused, match=r"face_landmarker.task reads the face in it; give its folder as --assets"
    ):
        motions.load(tmp_path / "a.mp4", tiny())
    (tmp_path / "b.mp4").write_text("nothing")
    with pytest.raises(Refused, match="not a readable video"):
        motions.load(tmp_path / "b.mp4", tiny())


def test_the_jaws_response_is_straightened():
    opened = np.repeat([0.0, 0.2, 1.0], 40)
    found = watch([[face(jawOpen=value)] for value in opened])
    at = found.weights[[10, 60, 110], found.names.index("jawOpen")]
    np.testing.assert_allclose(at, [0, 0.2**0.6, 1], atol=0.02)
