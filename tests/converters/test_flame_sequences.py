"""Folders of one file a frame, and sequences of trackers that name fewer things."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zero1a_jax.converters import flame_npz
from zero1a_jax.errors import Refused


def frame(mark, **changes):
    """One frame as VHAP writes it, told apart by its jaw."""
    widths = {"rotation": 3, "neck_pose": 3, "translation": 3, "eyes_pose": 6, "expr": 10}
    data = {name: np.zeros((1, width), np.float32) for name, width in widths.items()}
    data |= {
        "jaw_pose": np.full((1, 3), mark / 100),
        "shape": np.ones(7),
        "static_offset": np.ones((1, 9, 3)),
    }
    return {name: value for name, value in (data | changes).items() if value is not None}


def marks(motion):
    return np.round(motion.flame.jaw[:, 0] * 100).astype(int).tolist()


@pytest.mark.parametrize(
    "names",
    [
        [f"frame_{i}.npz" for i in range(12)],
        [f"{i:05d}.npz" for i in range(12)],
        [f"seq2_{i}_cam10.npz" for i in range(12)],
        [f"{i}.NPZ" for i in range(12)],
    ],
)
def test_natural_order_without_hidden_files(names, tmp_path):
    for i, name in enumerate(names):
        with open(tmp_path / name, "wb") as file:
            np.savez(file, **frame(i))
        (tmp_path / f"._{name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "folder.npz").mkdir()
    assert marks(flame_npz.load(tmp_path)) == list(range(12))


def test_an_export_keeps_the_canonical_frame_apart(tmp_path):
    inside = tmp_path / "flame_param"
    inside.mkdir()
    np.savez(tmp_path / "canonical_flame_param.npz", **frame(30, shape=np.full(7, 2.0)))
    (tmp_path / "transforms_train.json").write_text("{}")
    for i in range(12):
        np.savez(inside / f"{i:05d}.npz", **frame(i, shape=None))
    motion = flame_npz.load(tmp_path)
    assert marks(motion) == list(range(12)) and motion.notes == ()
    np.testing.assert_array_equal(motion.flame.shape, np.full((12, 7), 2.0))  # the frames have none
    np.testing.assert_array_equal(flame_npz.load(inside).flame.shape, motion.flame.shape)
    for i in range(12):  # the same in one flat folder
        (inside / f"{i:05d}.npz").rename(tmp_path / f"{i}.npz")
    inside.rmdir()
    assert marks(flame_npz.load(tmp_path)) == list(range(12))


def test_folders_that_hold_no_motion_of_their_own(tmp_path):
    (tmp_path / "a" / "flame_param").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="such as a"):
        flame_npz.load(tmp_path)
    np.savez(tmp_path / "canonical_flame_param.npz", **frame(30))
    with pytest.raises(Refused, match="canonical frame alone"):
        flame_npz.load(tmp_path)


def test_of_several_states_of_a_fit_the_last_counts(tmp_path):
    for epoch in (0, 9, 30):
        np.savez(tmp_path / f"tracked_flame_params_{epoch}.npz", **frame(epoch))
    motion = flame_npz.load(tmp_path)
    assert marks(motion) == [30] and "tracked_flame_params_30.npz" in motion.notes[0]


def rows(turns):
    """First two rows of each rotation matrix."""
    return Rotation.from_rotvec(turns).as_matrix()[:, :2].reshape(len(turns), 6)


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("kind", ["deca", "emoca", "smirk", "full", "rows"])
def test_sequences_of_other_trackers(kind, frames, tmp_path):
    rng = np.random.default_rng(0)
    shape, expression = rng.normal(size=(frames, 100)), rng.normal(size=(frames, 50))
    turn, jaw, neck = rng.normal(size=(3, frames, 3)) * 0.2
    eyes = rng.normal(size=(frames, 6)) * 0.1
    other = dict(cam=rng.normal(size=(frames, 3)), tex=np.ones((frames, 50)), light=np.ones((frames, 9, 3)))
    layout = {
        "deca": dict(shape=shape, exp=expression, pose=np.hstack([turn, jaw]), **other),
        "emoca": dict(shapecode=shape, expcode=expression, posecode=np.hstack([turn, jaw]), **other),
        "smirk": dict(
            shape_params=shape,
            expression_params=expression,
            pose_params=turn,
            jaw_params=jaw,
            eyelid_params=np.ones((frames, 2)),
            **other,
        ),
        "full": dict(shape=shape[:1], exp=expression[:, None], pose=np.hstack([turn, neck, jaw, eyes])),
        "rows": dict(
            shape=shape,
            exp=expression,
            jaw=rows(jaw),
            neck=rows(neck),
            rotation=turn,
            eyes=np.hstack([rows(eyes[:, :3]), rows(eyes[:, 3:])]),
        ),
    }[kind]
    np.savez(tmp_path / "a.npz", **layout)
    motion = flame_npz.load(tmp_path / "a.npz")
    flame, known = motion.flame, kind in ("full", "rows")
    np.testing.assert_allclose(
        flame.shape, shape[:1].repeat(frames, 0) if kind == "full" else shape, rtol=1e-6
    )
    for found, truth in ((flame.expression, expression), (flame.rotation, turn), (flame.jaw, jaw)):
        np.testing.assert_allclose(found, truth, atol=1e-6)
    np.testing.assert_allclose(flame.neck, neck * known, atol=1e-6)
    np.testing.assert_allclose(flame.eyes.reshape(frames, 6), eyes * known, atol=1e-6)
    assert flame.translation.shape == (frames, 3) and not flame.translation.any()
    assert all(value.dtype == np.float32 for value in vars(flame).values())
    assert ("neck" in motion.notes[0]) is not known


@pytest.mark.parametrize(
    "missing", [(), ("neck_pose",), ("eyes_pose",), ("neck_pose", "eyes_pose", "translation")]
)
def test_one_frame_may_lack_its_leading_axis(missing, tmp_path):
    data = {name: np.ravel(value) for name, value in frame(20).items() if name not in missing}
    np.savez(tmp_path / "a.npz", **data)
    motion = flame_npz.load(tmp_path / "a.npz")
    assert motion.flame.expression.shape == (1, 10) and motion.flame.eyes.shape == (1, 2, 3)
    assert marks(motion) == [20] and not motion.flame.neck.any()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"expr": None}, "lacks expr or exp"),
        ({"jaw_pose": None}, "lacks a jaw: one of jaw_pose"),
        ({"pose": np.zeros((1, 7))}, "pose has shape"),
        ({"pose": np.zeros((2, 6))}, "pose has shape"),
        ({"jaw_pose": np.zeros((1, 6))}, "no rotations"),
        ({"expr": np.full((1, 5), 1e300)}, "expr holds values that are not finite"),
        ({"expr": np.zeros((1, 5), complex)}, "expr holds values that are not finite"),
        ({"expr": np.float64(1)}, "expr holds values"),
        ({"fps": np.str_("x")}, "fps is no rate"),
        ({"fps": np.float64(-1)}, "fps is no rate"),
        ({"fps": np.ones(3)}, "fps is no rate"),
        ({"flame_version": np.ones(3)}, "flame_version is no text"),
    ],
)
def test_wrong_sequences(change, words, tmp_path):
    np.savez(tmp_path / "a.npz", **frame(1, **change))
    for path in (tmp_path / "a.npz", tmp_path):
        with pytest.raises(Refused, match=words) as caught:
            flame_npz.load(path)
        assert "a.npz" in str(caught.value)


def codes(folder, mark, frames=None):
    """EMOCA's files of one image, or of a sequence; told apart by the jaw."""
    folder.mkdir(parents=True)
    lead = () if frames is None else (frames,)
    pose = np.zeros((*lead, 6), np.float32)
    pose[..., 3] = mark / 100 if frames is None else np.arange(frames) / 100
    for name, values in {
        "shape": np.ones((*lead, 100), np.float32),
        "exp": np.full((*lead, 50), mark, np.float32),
        "tex": np.zeros((*lead, 50), np.float32),
        "pose": pose,
        "detail": np.zeros((*lead, 128), np.float32),
    }.items():
        np.save(folder / f"{name}.npy", values)
    (folder / "inputs.png").write_bytes(b"")


def test_emocas_folder_an_image(tmp_path):
    for i in range(12):
        codes(tmp_path / f"frame{i}_00", i)
    motion = flame_npz.load(tmp_path)
    assert marks(motion) == list(range(12)) and motion.flame.expression.shape == (12, 50)
    assert motion.notes == ("neck and translation and eyes are not in the file: they stay 0.",)
    np.testing.assert_array_equal(motion.flame.expression[:, 0], range(12))
    (tmp_path / "frame12_00").mkdir()  # no face was found
    (tmp_path / ".hidden").mkdir()
    motion = flame_npz.load(tmp_path)
    assert len(motion.flame.jaw) == 12
    assert motion.notes[0] == "1 of 13 folders hold no codes: they are left out."


def test_a_folder_with_the_codes_of_all_frames(tmp_path):
    codes(tmp_path / "take", 0, frames=5)
    for name, long in (("shape", "shapecode"), ("exp", "expcode"), ("pose", "posecode")):
        (tmp_path / "take" / f"{name}.npy").rename(tmp_path / "take" / f"{long}.npy")
    motion = flame_npz.load(tmp_path / "take")
    assert marks(motion) == list(range(5)) and motion.flame.shape.shape == (5, 100)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), "exp.npy is not a plain .npy"),
        (lambda path: path.write_bytes(b"text"), "exp.npy is not a plain .npy"),
        (lambda path: np.save(path, np.array([{}])), "exp.npy is not a plain .npy"),
        (lambda path: np.save(path, np.full(50, np.nan)), "exp holds values that are not finite"),
        (lambda path: np.save(path, np.zeros(49)), "have different sizes"),
        (lambda path: path.with_name("pose.npy").unlink(), "lacks a jaw"),
    ],
)
def test_damaged_codes_are_refused(damage, words, tmp_path):
    for i in range(2):
        codes(tmp_path / str(i), i)
    damage(tmp_path / "1" / "exp.npy")
    with pytest.raises(Refused, match=words):
        flame_npz.load(tmp_path)


def test_folders_without_any_codes(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError, match="no .npz files and no folders of .npy codes"):
        flame_npz.load(tmp_path)
