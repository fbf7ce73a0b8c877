"""Motions of SHOW and TalkSHOW against the arrays that they were written from."""

import pickle

import numpy as np
import pytest

from zero1a_jax import drive
from zero1a_jax.converters import talkshow
from zero1a_jax.types import Motion


@pytest.mark.parity
def test_show(reference, reference_path):
    """The file holds torch tensors (of a GPU) among what nobody needs."""
    found = talkshow.load(reference_path("flame/drivers/talkshow.pkl"), flame_version="flame2020")
    truth = reference("flame/drivers/talkshow_expected.npz")
    flame = found.flame
    assert isinstance(found, Motion) and found.fps == 30 and found.flame_version == "flame2020"
    np.testing.assert_array_equal(flame.expression, truth["expression"])
    np.testing.assert_array_equal(flame.jaw, truth["jaw_pose"])
    np.testing.assert_array_equal(flame.neck, truth["neck_smplx"])
    assert not np.array_equal(flame.neck, truth["neck_headstudio_index12"])  # that is the left collar
    np.testing.assert_array_equal(flame.eyes[:, 0], truth["leye_pose"])
    np.testing.assert_array_equal(flame.eyes[:, 1], truth["reye_pose"])
    np.testing.assert_array_equal(flame.rotation, truth["global_orient"][:, 0])
    np.testing.assert_array_equal(flame.translation, truth["transl"])
    np.testing.assert_array_equal(flame.shape, np.repeat(truth["betas"], len(flame.shape), 0))
    assert all(value.dtype == np.float32 for value in vars(flame).values())


@pytest.mark.parity
def test_network_output(reference, reference_path):
    path = reference_path("flame/drivers/talkshow_audio2motion.npy")
    flame, raw = talkshow.load(path).flame, np.load(path)
    np.testing.assert_array_equal(flame.jaw, raw[:, :3])
    np.testing.assert_array_equal(flame.neck, raw[:, 12 + 33 : 12 + 36])
    np.testing.assert_array_equal(flame.expression, raw[:, 165:])
    assert flame.eyes.shape == (len(raw), 2, 3) and not flame.eyes.any() and not flame.rotation.any()


@pytest.mark.parity
@pytest.mark.parametrize("name", ["talkshow.pkl", "talkshow_audio2motion.npy"])
def test_it_fits_a_head(name, reference_model, reference_path):
    head = reference_model(300)
    motion = talkshow.load(reference_path(f"flame/drivers/{name}"))
    fitted = drive.retarget(motion, head, shape=np.zeros(300), root="drop")
    assert fitted.flame_version == head.version and fitted.flame.expression.any()
    last = len(motion.flame.jaw) - 1  # at 30 frames a second; at 25 no frame passes it
    assert drive.resample(fitted, 25.0).flame.jaw.shape == (1 + last * 25 // 30, 3)


def clip(**changes):
    widths = dict(expression=100, jaw_pose=3, leye_pose=3, reye_pose=3, transl=3, body_pose_axis=63)
    content = {name: np.zeros((4, width), np.float32) for name, width in widths.items()}
    content |= dict(betas=np.zeros((1, 300)), global_orient=np.zeros((4, 1, 3))) | changes
    return {name: value for name, value in content.items() if value is not None}


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(expression=None), "expression is missing"),
        (dict(expression=np.zeros((0, 100))), "expression has the shape"),
        (dict(jaw_pose=np.zeros((3, 3))), "jaw_pose has the shape"),
        (dict(body_pose_axis=np.zeros((4, 66))), "body_pose_axis has the shape"),
        (dict(global_orient=np.zeros((4, 3))), "global_orient has the shape"),
        (dict(betas=np.full((1, 10), np.nan)), "betas holds values that are not finite"),
        (dict(leye_pose=[1, 2]), "leye_pose is no array"),
    ],
)
def test_wrong_clips(changes, words, refused, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(clip(), 2))
    assert talkshow.load(path).flame.neck.shape == (4, 3)
    path.write_bytes(pickle.dumps(clip(**changes), 2))
    refused(talkshow.load, path, words)


def test_other_files(refused, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1], 2))
    refused(talkshow.load, tmp_path / "a.pkl", "no motion of SHOW")
    for array, words in (
        (np.zeros((4, 264)), "its array has the shape"),
        (np.zeros(265), "its array has the shape"),
        (np.full((4, 265), np.inf), "not finite"),
        (np.array({"a": 1}, object), "its array is no array"),
    ):
        np.save(tmp_path / "a.npy", array)
        refused(talkshow.load, tmp_path / "a.npy", words)
    with pytest.raises(FileNotFoundError):
        talkshow.load(tmp_path / "none.npy")
