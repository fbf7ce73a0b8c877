"""A FLAME folder instead of the embedded head, and the motions that only converters read."""

import pickle

import numpy as np
import pytest

from zero1a_jax import outputs
from zero1a_jax.config import from_values
from zero1a_jax.converters import flame_files
from zero1a_jax.flame import landmarks68, procedural_head, zero_params
from zero1a_jax.showing import poses
from zero1a_jax.sources import arkit_table, avatars, heads, motions
from zero1a_jax.training import checks
from zero1a_jax.types import Avatar, Gaussians


def padded(basis, columns):
    return np.pad(np.asarray(basis, np.float64), ((0, 0), (0, 0), (0, columns - basis.shape[2])))


def disguised(folder, head):
    """Writes the embedded head as a FLAME folder: without names, with 400 columns, in FLAME's files."""
    directions = np.concatenate([padded(head.shape_basis, 300), padded(head.expression_basis, 100)], 2)
    content = dict(
        v_template=np.asarray(head.template, np.float64),
        shapedirs=directions,
        posedirs=head.pose_basis,
        J_regressor=head.joint_regressor,
        weights=head.skinning,
        f=head.faces.astype(np.uint32),
        kintree_table=np.array([[2**32 - 1, 0, 1, 1, 1], range(5)], np.uint32),
    )
    (folder / "FLAME_NEUTRAL.pkl").write_bytes(pickle.dumps(content, 4))
    static = dict(lmk_face_idx=head.landmark_faces, lmk_b_coords=head.landmark_barycentrics)
    (folder / flame_files.STATIC).write_bytes(pickle.dumps(static, 2))
    rows = dict(lmk_face_idx=list(head.contour_faces), lmk_b_coords=list(head.contour_barycentrics))
    np.save(folder / flame_files.DYNAMIC, np.array(rows, object))
    np.savez(
        folder / flame_files.MEDIAPIPE,
        lmk_face_idx=head.mediapipe_faces,
        lmk_b_coords=head.mediapipe_barycentrics,
        landmark_indices=head.mediapipe_indices,
    )
    masks = {name: np.flatnonzero(member) for name, member in head.masks.items()}
    (folder / flame_files.MASKS).write_bytes(pickle.dumps(masks, 2))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return disguised(tmp_path_factory.mktemp("flame"), procedural_head())


def config(**changes):
    return from_values({"image": "synthetic:1"} | changes)


def test_no_folder_means_the_embedded_head():
    assert heads.load() is procedural_head()


def test_a_folder_becomes_a_head_with_teeth(folder):
    embedded, head = procedural_head(), heads.load(folder)
    count = len(embedded.template)
    np.testing.assert_array_equal(head.template[:count], embedded.template)
    assert len(head.template) == count + 120 and len(head.faces) == len(embedded.faces) + 168
    assert head.masks["teeth"][count:].all() and head.expression_names == ()
    params = zero_params(embedded)
    np.testing.assert_allclose(
        landmarks68(head, head.template, params), landmarks68(embedded, embedded.template, params), atol=1e-7
    )
    assert heads.file(folder).name == "FLAME_NEUTRAL.pkl"


def test_a_pkl_alone_has_no_teeth(folder):
    head = heads.load(folder / "FLAME_NEUTRAL.pkl")
    assert len(head.template) == len(procedural_head().template) and head.landmark_faces is None


def test_checks_need_no_file_to_be_read(folder, tmp_path):
    assert checks.problems(config(flame=str(folder), workdir=str(tmp_path / "w"))) == []
    for name, words in (("none", "does not exist"), (".", "holds no FLAME model")):
        found = checks.flame_problems(tmp_path / name)
        assert len(found) == 1 and words in found[0] and "--flame" in found[0]
    (tmp_path / "generic_model.pkl").write_bytes(b"")
    (found,) = checks.flame_problems(tmp_path)
    assert flame_files.MEDIAPIPE in found and flame_files.DYNAMIC in found
    (tmp_path / "flame2023.pkl").write_bytes(b"")
    (found,) = checks.flame_problems(tmp_path)
    assert "several" in found


def test_an_avatar_remembers_its_head(folder, tmp_path):
    head = heads.load(folder)
    zeros = np.zeros((4, 3), np.float32)
    gaussians = Gaussians(zeros, zeros, np.ones((4, 4), np.float32), zeros[:, None], zeros[:, 0])
    faces = len(head.faces) - 1 - np.arange(4, dtype=np.int32)  # teeth
    avatar = Avatar(gaussians, faces, np.ones(4, bool), np.zeros(300, np.float32))
    meta = {"flame_version": head.version, "faces": len(head.faces)}
    outputs.save_avatar(tmp_path, avatar, gaussians, meta)
    assert avatars.load(tmp_path, str(folder)).model.version == head.version
    with pytest.raises(ValueError, match="made on flame_"):
        avatars.load(tmp_path)


@pytest.mark.parity
def test_motions_of_show(folder, reference_path):
    head = heads.load(folder)
    for name in ("talkshow.pkl", "talkshow_audio2motion.npy"):
        path = reference_path(f"flame/drivers/{name}")
        motion = motions.load(path, head, shape=np.zeros(300), root="drop")
        assert motion.fps == 30 and motion.flame.expression.shape[1] == 100 and motion.flame.jaw.any()
        with pytest.raises(ValueError, match="drop"):
            motions.load(path, procedural_head(), shape=np.zeros(1))
        foreign = motions.load(path, procedural_head(), shape=np.zeros(1), expression="drop", fps=50.0)
        assert foreign.fps == 50 and not foreign.flame.expression.any() and foreign.flame.neck.any()
    npz = reference_path("flame/drivers/gaussianavatars_flame_param.npz")
    assert motions.load(npz, head, shape=np.zeros(300)).fps == 25


@pytest.mark.parity
def test_recordings_and_demo_poses_of_arkit_drive_a_nameless_head(folder, reference_path):
    head = heads.load(folder)
    arkit = arkit_table.load(head)
    path = reference_path("flame/drivers/livelink.csv")
    motion = motions.load(path, head, shape=np.zeros(300), arkit=arkit)
    assert motion.flame_version == head.version and motion.fps == 60
    assert (
        np.isfinite(motion.flame.expression).all()
        and motion.flame.expression.any()
        and motion.flame.jaw.any()
    )
    smile = [name for name, _, _ in poses.SHOWN].index("smile")
    assert np.abs(poses.expression(head, smile, arkit).expression).max() > 0.3
    assert not np.asarray(poses.expression(head, 0, arkit).expression).any()


def test_who_needs_a_map_of_arkit(folder):
    assert arkit_table.load(procedural_head()) is None
    assert arkit_table.load(heads.load(folder / "FLAME_NEUTRAL.pkl")) is None  # nothing to compare it by
    with pytest.raises(ValueError, match="give --flame too"):
        arkit_table.load(procedural_head(), "table.npz")
    mouth = [name for name, _, _ in poses.SHOWN].index("mouth open")
    assert poses.expression(heads.load(folder / "FLAME_NEUTRAL.pkl"), mouth).jaw[0] == pytest.approx(0.25)


def test_a_table_of_ones_own(folder, tmp_path):
    head = heads.load(folder)

    def table(**changes):
        content = dict(names=arkit_table.NEEDED, expression=np.ones((3, 2)), jaw=np.eye(3))
        np.savez(tmp_path / "a.npz", **content | changes)
        return tmp_path / "a.npz"

    found = arkit_table.load(head, table(flame_version=head.version))
    assert (
        found.expression.shape == (3, 100)
        and found.expression.sum() == 6
        and found.names == arkit_table.NEEDED
    )
    opened = poses.expression(head, [name for name, _, _ in poses.SHOWN].index("mouth open"), found)
    np.testing.assert_allclose(opened.jaw, [0, 0, 0.8])
    official = head.replace(version="flame2023")
    for changes, words, model in (
        (dict(names=["jawOpen", "jawLeft", "cheekPuff"]), "lacks eyeBlinkLeft, eyeBlinkRight", head),
        (dict(expression=np.ones((3, 101))), "101 coefficients a shape, the head has 100", head),
        (dict(flame_version="flame2020"), "is for flame2020, the head is flame2023", official),
    ):
        with pytest.raises(ValueError, match=words):
            arkit_table.load(model, table(**changes))
    np.save(tmp_path / "a.npy", np.zeros((52, 5023, 3)))
    with pytest.raises(ValueError, match="is for 5023 vertices and teeth, the head has 5308"):
        arkit_table.load(head, tmp_path / "a.npy")
    (found,) = checks.problems(config(arkit=str(tmp_path / "a.npy"), workdir=str(tmp_path / "w")))
    assert "give --flame too" in found
    (found,) = checks.problems(config(flame=str(folder), arkit="none", workdir=str(tmp_path / "w")))
    assert "no ARKit table at none" in found
