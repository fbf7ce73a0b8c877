"""FLAME files of every encoding against the content that they were written from, and against smplx."""

import dataclasses
import os
import pickle

import jax
import numpy as np
import pytest

from zero1a_jax.converters import flame, flame_files
from zero1a_jax.flame import add_teeth, forward, landmarks68, landmarks_mediapipe
from zero1a_jax.types import FlameParams

VARIANTS = (
    "py2_proto0_chumpy",
    "py2_proto0_plain",
    "py2_proto2_chumpy_shapedirs_only",
    "py2_proto2_select",
    "py3_proto2",
    "py3_proto4",
    "py3_proto4_dense_J",
)
COMPANIONS = (
    flame_files.STATIC,
    flame_files.DYNAMIC,
    flame_files.WITH_EYES,
    flame_files.MEDIAPIPE,
    flame_files.MASKS,
    flame_files.TEMPLATE,
)
OPTIONAL = (
    "landmark_faces",
    "landmark_barycentrics",
    "contour_faces",
    "contour_barycentrics",
    "mediapipe_faces",
    "mediapipe_barycentrics",
    "mediapipe_indices",
    "masks",
    "uv",
    "uv_faces",
)
WHOLE = pytest.mark.skipif(
    "ZERO1A_FIXTURES" not in os.environ, reason="the whole model is in ZERO1A_FIXTURES alone (2 MB a file)"
)


def content_of(assets):
    """What FLAME_NEUTRAL.pkl holds, from the arrays that its writer kept beside it."""
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "J")
    table = np.stack([assets["kintree_parents"], np.arange(5)])
    return {name: assets[name] for name in names} | {"kintree_table": table}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reference, reference_path):
    """A folder as users have it: the model, here written anew, and the reference companions."""
    path = tmp_path_factory.mktemp("flame")
    content = content_of(reference("flame/expected_assets.npz"))
    (path / "FLAME_NEUTRAL.pkl").write_bytes(pickle.dumps(content, 2))
    for name in COMPANIONS:
        (path / name).write_bytes(reference_path(f"flame/flame/{name}").read_bytes())
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    return flame.load(folder)


def equal(found, truth):
    """All fields but the version agree, bit by bit."""
    for field in dataclasses.fields(truth):
        one, other = getattr(found, field.name), getattr(truth, field.name)
        if field.name == "version":
            continue
        if isinstance(other, dict):
            assert sorted(one) == sorted(other)
            one, other = ([part[key] for key in sorted(other)] for part in (one, other))
        np.testing.assert_array_equal(one, other, err_msg=field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype, field.name


@pytest.mark.parity
@pytest.mark.parametrize("name", VARIANTS)
def test_every_encoding(name, reference, reference_path):
    found = flame.load(reference_path(f"flame/variants/{name}.pkl"))
    truth = reference("flame/variants/expected_tiny.npz")
    pairs = dict(
        template="v_template", pose_basis="posedirs", joint_regressor="J_regressor", skinning="weights"
    )
    for field, key in pairs.items():
        value = getattr(found, field)
        np.testing.assert_array_equal(value, truth[key].astype(np.float32), err_msg=field)
        assert value.dtype == np.float32
    np.testing.assert_array_equal(found.shape_basis, truth["shapedirs"][..., :10].astype(np.float32))
    np.testing.assert_array_equal(found.expression_basis, truth["shapedirs"][..., 10:].astype(np.float32))
    np.testing.assert_array_equal(found.faces, truth["f"])
    assert found.faces.dtype == np.int32 and found.parents == (-1, 0, 1, 1, 1)
    assert found.expression_names == () and all(getattr(found, name) is None for name in OPTIONAL)


@pytest.mark.parity
def test_all_encodings_are_one_version(reference_path):
    found = {flame.load(reference_path(f"flame/variants/{name}.pkl")).version for name in VARIANTS}
    assert len(found) == 1 and found.pop().startswith("flame_")


@pytest.mark.parity
def test_a_folder(loaded, reference_model):
    equal(loaded, reference_model(300))


@pytest.mark.parity
@WHOLE
@pytest.mark.parametrize("name", ["FLAME_NEUTRAL", "FLAME_NEUTRAL_chumpy"])
def test_the_whole_model(name, reference_model, reference_path):
    path = reference_path("flame/flame")
    truth = reference_model(300)
    equal(flame.load(path), truth)
    alone = flame.load(path / f"{name}.pkl")
    equal(alone, truth.replace(**dict.fromkeys(OPTIONAL)))
    assert alone.version == flame.load(path).version


@pytest.mark.parity
def test_vertices_and_landmarks(loaded, reference):
    smplx = reference("flame/flame_smplx.npz")
    pick = {k[3:]: a for k, a in smplx.items() if k.startswith("in_")}
    params = FlameParams(
        shape=pick["betas"],
        expression=pick["expression"],
        rotation=pick["global_orient"],
        neck=pick["neck_pose"],
        jaw=pick["jaw_pose"],
        eyes=np.stack([pick["leye_pose"], pick["reye_pose"]], 1),
        translation=pick["transl"],
    )
    vertices, joints = jax.jit(forward)(loaded, params)
    inner, outer = smplx["out_static51_f64"], smplx["out_contour17_neck_f64"]
    for found, truth in (
        (vertices, smplx["out_vertices_f64"]),
        (joints, smplx["out_joints_f64"]),
        (landmarks68(loaded, vertices, params), np.concatenate([outer, inner], 1)),
        (landmarks_mediapipe(loaded, vertices), smplx["out_mediapipe105_f64"]),
    ):
        np.testing.assert_allclose(found, truth, rtol=0, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("name", [flame_files.WITH_EYES, flame_files.DECAS])
def test_the_embedding_with_eyes_serves_alone(name, folder, reference_path, tmp_path):
    """GaussianAvatars' file has the 51 points before two more, and the contour's rows as tensors; DECA's is
    the same under another name."""
    (tmp_path / "FLAME_NEUTRAL.pkl").write_bytes((folder / "FLAME_NEUTRAL.pkl").read_bytes())
    (tmp_path / name).write_bytes((folder / flame_files.WITH_EYES).read_bytes())
    assert flame_files.unfit(tmp_path) == [flame_files.MEDIAPIPE]
    found = flame.load(tmp_path)
    truth = np.load(reference_path("flame/expected_assets.npz"))
    assert found.landmark_faces.shape == (51,) and found.contour_faces.shape == (79, 17)
    np.testing.assert_array_equal(found.contour_faces, truth["dyn_face"])
    np.testing.assert_allclose(found.contour_barycentrics, truth["dyn_bary"], atol=1e-7)
    np.testing.assert_array_equal(found.landmark_faces, truth["static_face"])
    np.testing.assert_allclose(found.landmark_barycentrics, truth["static_bary"], atol=1e-7)
    assert found.mediapipe_faces is None and found.masks is None and found.uv is None


@pytest.mark.parity
def test_teeth(loaded, reference):
    """Official heads get theirs from flame.add_teeth, which only needs the two rings."""
    expected = reference("flame/flame_gaussianavatars.npz")
    model = add_teeth(loaded, expected["teeth_lip_upper"], expected["teeth_lip_lower"])
    count = len(loaded.template)
    np.testing.assert_allclose(model.template[count:], expected["teeth_v_template"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(model.faces[len(loaded.faces) :], expected["teeth_faces"])


def grown(pickles, vertices=flame.VERTICES, faces=flame.FACES):
    """A valid model with FLAME's mesh sizes."""
    rng = np.random.default_rng(1)
    regressor = np.zeros((5, vertices))
    regressor[:, :5] = np.eye(5)
    return pickles.tiny(
        v_template=rng.normal(0, 0.05, (vertices, 3)),
        shapedirs=np.zeros((vertices, 3, 20), np.float32),
        posedirs=np.zeros((vertices, 3, 36), np.float32),
        weights=np.eye(5)[rng.integers(0, 5, vertices)],
        J_regressor=regressor,
        f=rng.integers(0, vertices, (faces, 3)).astype(np.uint32),
    )


@pytest.fixture(scope="module")
def official(pickles):
    return pickle.dumps(grown(pickles), 2)


@pytest.mark.parametrize("name, version", sorted(flame_files.VERSIONS.items()))
def test_the_version_is_known_by_the_name(name, version, official, tmp_path):
    (tmp_path / name).write_bytes(official)
    for path in (tmp_path, tmp_path / name):
        found = flame.load(path).version
        assert found == version if version else found.startswith("flame_")


def test_a_name_is_not_believed_on_another_mesh(pickles, tmp_path):
    (tmp_path / "flame2023.pkl").write_bytes(pickle.dumps(pickles.tiny(), 4))
    version = flame.load(tmp_path).version
    assert version.startswith("flame_") and version != "flame_2023"
    changed = pickles.tiny()
    changed["shapedirs"] = changed["shapedirs"] * 1.01
    (tmp_path / "flame2023.pkl").write_bytes(pickle.dumps(changed, 4))
    assert flame.load(tmp_path).version != version


def test_which_model_of_a_folder(official, tmp_path):
    with pytest.raises(FileNotFoundError, match="generic_model.pkl"):
        flame.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file"):
        flame.load(tmp_path / "none.pkl")
    for name in ("male_model.pkl", "generic_model.pkl"):
        (tmp_path / name).write_bytes(official)
    assert flame.load(tmp_path).version == "flame2020"
    (tmp_path / "flame2023.pkl").write_bytes(official)
    with pytest.raises(ValueError, match="several FLAME models .generic_model.pkl, flame2023.pkl."):
        flame.load(tmp_path)
    assert flame.load(tmp_path / "flame2023.pkl").version == "flame2023"


@pytest.mark.parametrize(
    "columns, split", [(400, (300, 100)), (401, (300, 100)), (399, (10, 10)), (20, (10, 10))]
)
def test_identity_and_expression(columns, split, pickles, tmp_path):
    directions = np.random.default_rng(0).normal(0, 1e-3, (9, 3, columns))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(pickles.tiny(shapedirs=directions), 4))
    found = flame.load(tmp_path / "a.pkl")
    first, second = split
    np.testing.assert_array_equal(found.shape_basis, directions[..., :first].astype(np.float32))
    np.testing.assert_array_equal(
        found.expression_basis, directions[..., first : first + second].astype(np.float32)
    )


def test_roots_and_byte_orders(pickles, tmp_path):
    table = np.array([[-1, 0, 1, 1, 1], range(5)])
    swapped = pickles.tiny(kintree_table=table.astype(">i8"))
    swapped["v_template"] = swapped["v_template"].astype(">f8")
    swapped["f"] = np.asfortranarray(swapped["f"].astype(">i4"))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(swapped, 2))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(pickles.tiny(), 2))
    one, other = (flame.load(tmp_path / name) for name in ("a.pkl", "b.pkl"))
    equal(one, other)
    assert one.version == other.version and one.template.dtype == np.dtype("f4")
