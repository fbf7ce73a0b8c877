"""Models and companions that are readable but wrong: one sentence that names the file and the part."""

import pickle

import numpy as np
import pytest

from zero1a_jax.converters import flame, flame_files
from zero1a_jax.converters.pickles import unpickle


def table(parents, joints=range(5), kind=np.int64):
    return np.array([parents, list(joints)], kind)


def at(array, index, value):
    changed = np.array(array)
    changed[index] = value
    return changed


BAD = {
    "no template": (dict(v_template=None), "v_template is missing"),
    "flat template": (dict(v_template=np.zeros(27)), r"v_template has the shape \(27,\)"),
    "no vertices": (dict(v_template=np.zeros((0, 3))), "v_template has the shape"),
    "text for a template": (dict(v_template="head"), "v_template is no array"),
    "words for a template": (dict(v_template=np.array([["a", "b", "c"]] * 9)), "v_template holds <U1"),
    "bools for weights": (dict(weights=np.ones((9, 5), bool)), "weights holds bool"),
    "NaN": (
        lambda m: dict(v_template=at(m["v_template"], (0, 1), np.nan)),
        "v_template holds values .* not finite",
    ),
    "infinity": (lambda m: dict(posedirs=at(m["posedirs"], 0, np.inf)), "posedirs .* not finite"),
    "too large for float32": (
        lambda m: dict(shapedirs=at(m["shapedirs"], 0, 1e300)),
        "shapedirs .* not finite",
    ),
    "NaN in J": (lambda m: dict(J_regressor=at(m["J_regressor"], 0, np.nan)), "J_regressor .* not finite"),
    "millimetres": (lambda m: dict(v_template=m["v_template"] * 1000), "in metres"),
    "other vertices in shapedirs": (dict(shapedirs=np.zeros((8, 3, 20))), "shapedirs has the shape"),
    "few columns": (dict(shapedirs=np.zeros((9, 3, 19))), "shapedirs has 19 columns"),
    "flat shapedirs": (dict(shapedirs=np.zeros((27, 20))), "shapedirs has the shape"),
    "pose basis of another skeleton": (dict(posedirs=np.zeros((9, 3, 207))), "posedirs has the shape"),
    "regressor of another skeleton": (dict(J_regressor=np.zeros((24, 9))), "J_regressor has the shape"),
    "weights of another skeleton": (dict(weights=np.full((9, 4), 0.25)), "weights has the shape"),
    "weights do not sum to 1": (lambda m: dict(weights=m["weights"] * 1.01), "weights .* sum to 1"),
    "negative weights": (
        lambda m: dict(weights=at(m["weights"], 0, [2, -1, 0, 0, 0])),
        "weights .* negative",
    ),
    "face outside": (lambda m: dict(f=at(m["f"], (0, 0), 9)), "f refers to number 9"),
    "negative face": (lambda m: dict(f=at(m["f"].astype(int), (0, 0), -1)), "f refers to"),
    "face past 32 bits": (lambda m: dict(f=at(m["f"].astype(int), (0, 0), 1 << 32)), "f refers to"),
    "faces of numbers with a point": (lambda m: dict(f=m["f"].astype(float)), "f holds float64"),
    "quads": (dict(f=np.zeros((4, 4), int)), "f has the shape"),
    "no faces": (dict(f=np.zeros((0, 3), int)), "f has the shape"),
    "cyclic parents": (dict(kintree_table=table([-1, 2, 1, 1, 1])), "before its parent"),
    "own parent": (dict(kintree_table=table([-1, 1, 1, 1, 1])), "before its parent"),
    "negative parent": (dict(kintree_table=table([-1, -1, 1, 1, 1])), "before its parent"),
    "a root with a parent": (dict(kintree_table=table([3, 0, 1, 1, 1])), "before its parent"),
    "joints out of order": (dict(kintree_table=table([-1, 0, 1, 1, 1], [0, 1, 2, 4, 3])), "lists the joints"),
    "another skeleton": (dict(kintree_table=np.zeros((2, 24), int)), "kintree_table is no table"),
    "parents with a point": (
        dict(kintree_table=table([-1, 0, 1, 1, 1], kind=float)),
        "kintree_table is no table",
    ),
    "no parents": (dict(kintree_table=None), "kintree_table is no table"),
}


@pytest.mark.parametrize("kind", BAD)
def test_models(kind, pickles, refused, tmp_path):
    changes, words = BAD[kind]
    content = pickles.tiny(**(changes(pickles.tiny()) if callable(changes) else changes))
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps(content, 4))
    refused(flame.load, path, words)


@pytest.mark.parametrize("content", [[1, 2], None, np.zeros(3), "text", {}])
def test_pickles_of_something_else(content, refused, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, 4))
    refused(flame.load, tmp_path / "a.pkl", "no FLAME model|v_template is missing")


def points(shape, **changes):
    weights = np.full((*shape, 3), 1 / 3)
    return {"lmk_face_idx": np.zeros(shape, np.uint32), "lmk_b_coords": weights} | changes


def obj(lines=None, *, uv=b"vt 0.1 0.2\n" * 9, corner=b"%d/%d"):
    faces = [[i, i + 1, i + 2] for i in range(7)] if lines is None else lines
    text = [
        b"f " + b" ".join(corner % (i + 1, i + 1) if b"%" in corner else corner for i in f) for f in faces
    ]
    return b"v 0 0 0\n" * 9 + uv + b"\n".join(text) + b"\n"


def packed(content):
    return pickle.dumps(content, 2)


ROWS = np.zeros((79, 17), np.uint32)
COMPANIONS = [
    (flame_files.STATIC, packed([1]), "no landmark embedding"),
    (flame_files.STATIC, packed(points((50,))), "lmk_face_idx has the shape"),
    (
        flame_files.STATIC,
        packed(points((51,), lmk_face_idx=np.full(51, 7))),
        "lmk_face_idx refers to number 7",
    ),
    (flame_files.STATIC, packed(points((51,), lmk_b_coords=np.full((51, 3), 0.5))), "barycentric"),
    (flame_files.STATIC, packed(points((51,), lmk_b_coords=np.tile([2.0, -1, 0], (51, 1)))), "barycentric"),
    (flame_files.STATIC, packed(points((51,), lmk_b_coords=np.full((51, 3), np.nan))), "not finite"),
    (flame_files.DYNAMIC, points((79, 17), lmk_face_idx=list(ROWS[:78])), "lmk_face_idx has the shape"),
    (flame_files.DYNAMIC, points((79, 17), lmk_face_idx=[*ROWS[:78], ROWS[0][:3]]), "differ in shape"),
    (flame_files.DYNAMIC, points((79, 17), lmk_face_idx=[1, 2]), "no list of arrays"),
    (flame_files.DYNAMIC, points((79, 17), lmk_face_idx=[np.zeros(10000, int)] * 100), "too many numbers"),
    (flame_files.WITH_EYES, {"static_lmk_faces_idx": np.zeros(53, int)}, "is missing"),
    (flame_files.MASKS, packed({}), "0 masks"),
    (flame_files.MASKS, packed({"face": np.array([9])}), "face refers to number 9"),
    (flame_files.MASKS, packed({"face": np.array([0.0])}), "face holds float64"),
    (flame_files.MASKS, packed({3: np.array([0])}), "number 3 for a name"),
    (flame_files.TEMPLATE, obj(uv=b"vt 0.1\n" * 9), "other than two numbers"),
    (flame_files.TEMPLATE, obj(uv=b""), "no texture coordinates"),
    (flame_files.TEMPLATE, obj(uv=b"vt 0.1 x\n"), "line 10 holds"),
    (flame_files.TEMPLATE, obj(uv=b"vt 0.1 nan\n" * 9), "not finite"),
    (flame_files.TEMPLATE, obj(uv=b"vt 0.1 2\n" * 9), "range 0 to 1"),
    (flame_files.TEMPLATE, obj(uv=b"vt 0.1 1\n" * 8), "ft refers to number 8"),
    (flame_files.TEMPLATE, obj(corner=b"1//1"), "holds something that is no number"),
    (flame_files.TEMPLATE, obj(corner=b"1"), "no triangles"),
    (flame_files.TEMPLATE, obj(corner=b"1/99999999999999999999"), "far too large"),
    (flame_files.TEMPLATE, obj([[0, 1, 2, 3]]), "no triangles"),
    (flame_files.TEMPLATE, obj([]), "no triangles"),
    (flame_files.TEMPLATE, obj([[i + 2, i + 1, i] for i in range(7)]), "not those of the model"),
    (flame_files.TEMPLATE, obj([[0, 1, 2]] * 6), "not those of the model"),
    (flame_files.TEMPLATE, b"f 1/1 1/1 1/1\n" * 400_000, "more triangles than the model"),
    (flame_files.TEMPLATE, b"vt 0 0\n" * 400_000, "more texture points"),
    (flame_files.TEMPLATE, b"#" * (9 << 20), "more than 8 MiB"),
]


@pytest.mark.parametrize("number", range(len(COMPANIONS)))
def test_companions(number, pickles, refused, tmp_path):
    name, content, words = COMPANIONS[number]
    (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(pickles.tiny(), 4))
    if isinstance(content, dict):
        np.save(tmp_path / name, np.array(content, object))
    else:
        (tmp_path / name).write_bytes(content)
    refused(lambda path: flame.load(path.parent), tmp_path / name, words)


def test_mediapipe(pickles, refused, tmp_path):
    (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(pickles.tiny(), 4))
    path = tmp_path / flame_files.MEDIAPIPE
    ids = np.arange(105)
    for content, words in (
        (points((105,)), "landmark_indices is missing"),
        (points((105,), landmark_indices=ids + 400), "landmark_indices refers to number 504"),
        (points((104,), landmark_indices=ids), "lmk_face_idx has the shape"),
        ({"a": np.array([{}], object)}, "objects"),
    ):
        np.savez(path, **content)
        refused(lambda path: flame.load(path.parent), path, words)
    np.savez(path, **points((105,), landmark_indices=ids))
    np.testing.assert_array_equal(flame.load(tmp_path).mediapipe_indices, ids)


def test_a_good_template_and_masks(pickles, tmp_path):
    (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(pickles.tiny(), 4))
    (tmp_path / flame_files.TEMPLATE).write_bytes(obj())
    (tmp_path / flame_files.MASKS).write_bytes(packed({"face": np.array([0, 3])}))
    found = flame.load(tmp_path)
    np.testing.assert_array_equal(found.uv_faces, found.faces)
    np.testing.assert_array_equal(np.flatnonzero(found.masks["face"]), [0, 3])
    assert found.uv.shape == (9, 2) and found.landmark_faces is None


def test_errors_are_value_errors():
    assert issubclass(unpickle.BadFile, ValueError)
