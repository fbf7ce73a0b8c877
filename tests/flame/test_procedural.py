"""The embedded head: what FlameModel promises, what its shapes mean, and that the asset is as constructed."""

import io

import numpy as np
import pytest

from zero1a_jax.flame import forward, procedural_head, zero_params
from zero1a_jax.flame.head_expressions import NAMES
from zero1a_jax.flame.head_landmark_table import LEFT, MIDDLE
from zero1a_jax.image.landmarks import DRAWN_MEDIAPIPE

MIRROR = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def head():
    return procedural_head()


def moved(head, **weights):
    """Vertices [V, 3] with the named expressions on (linear part only)."""
    row = np.zeros(len(head.expression_names), np.float32)
    for name, weight in weights.items():
        row[head.expression_names.index(name)] = weight
    return head.template + head.expression_basis @ row


def points(head, vertices, ids):
    """Embedded MediaPipe points [n, 3] of the given MediaPipe indices."""
    rows = [head.mediapipe_indices.tolist().index(i) for i in ids]
    corners = vertices[head.faces[head.mediapipe_faces[rows]]]
    return (corners * head.mediapipe_barycentrics[rows][..., None]).sum(1)


def test_sizes_and_types(head):
    count = len(head.template)
    assert 4000 <= count <= 6000
    assert head.shape_basis.shape[-1] >= 17
    assert head.expression_names == NAMES and len(set(NAMES)) == 52
    assert head.expression_basis.shape == (count, 3, 52)
    assert head.pose_basis.shape == (count, 3, 36)
    assert head.parents == (-1, 0, 1, 1, 1)
    assert head.template.dtype == np.float32 and head.faces.dtype == np.int32
    for array in (head.template, head.shape_basis, head.expression_basis, head.pose_basis, head.skinning):
        assert np.isfinite(array).all()
    np.testing.assert_allclose(head.skinning.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(head.joint_regressor.sum(1), 1, atol=1e-5)
    assert head.skinning.min() >= 0


def test_surface_is_clean(head):
    """Every edge is shared by two faces of opposite direction, but for the borders of neck and teeth."""
    f = head.faces
    edges = np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)
    unique, times = np.unique(np.sort(edges, 1), axis=0, return_counts=True)
    border = unique[times == 1]
    allowed = head.masks["boundary"] | head.masks["teeth"]
    assert allowed[border].all()
    assert np.array_equal(np.unique(f), np.arange(len(head.template)))
    v = head.template
    area = np.linalg.norm(np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]]), axis=1)
    assert area.min() > 1e-11


def test_faces_are_wound_outward(head):
    """The enclosed volume of each closed part is positive."""
    v, f = head.template, head.faces
    for mask in ("left_eyeball", "right_eyeball", "tongue"):
        part = f[head.masks[mask][f].all(1)]
        centre = v[head.masks[mask]].mean(0)
        a, b, c = (v[part[:, i]] - centre for i in range(3))
        assert np.einsum("fi,fi->", a, np.cross(b, c)) > 0


def test_vertices_are_mirror_symmetric(head):
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(head.template).query(head.template * MIRROR)
    assert distance.max() < 1e-6


def test_masks(head):
    names = {
        "face",
        "neck",
        "scalp",
        "boundary",
        "right_eyeball",
        "left_eyeball",
        "right_ear",
        "left_ear",
        "forehead",
        "eye_region",
        "nose",
        "lips",
        "right_eye_region",
        "left_eye_region",
        "iris",
        "pupil",
        "teeth",
        "mouth_interior",
        "eyelids",
    }
    assert names <= set(head.masks)
    for name in names:
        mask = head.masks[name]
        assert mask.dtype == bool and mask.shape == (len(head.template),) and 0 < mask.sum() < len(mask)
    assert head.template[head.masks["left_eyeball"], 0].min() > 0
    assert head.template[head.masks["left_ear"], 0].min() > 0
    assert not (head.masks["face"] & head.masks["scalp"]).any()


def test_uv(head):
    assert head.uv.min() >= 0 and head.uv.max() <= 1
    assert head.uv_faces.shape == head.faces.shape and head.uv_faces.max() < len(head.uv)
    span = head.uv[head.uv_faces].max(1) - head.uv[head.uv_faces].min(1)
    assert np.median(span) < 0.03  # no seams across triangles


def test_landmark_embeddings(head):
    assert head.mediapipe_indices.shape == (105,) and len(set(head.mediapipe_indices.tolist())) == 105
    assert set(DRAWN_MEDIAPIPE[:92]) <= set(head.mediapipe_indices.tolist())
    assert len(MIDDLE) + 2 * len(LEFT) == 105
    for faces, bary, shape in (
        (head.landmark_faces, head.landmark_barycentrics, (51,)),
        (head.contour_faces, head.contour_barycentrics, (79, 17)),
        (head.mediapipe_faces, head.mediapipe_barycentrics, (105,)),
    ):
        assert faces.shape == shape and faces.min() >= 0 and faces.max() < len(head.faces)
        np.testing.assert_allclose(bary.sum(-1), 1, atol=1e-5)
        assert bary.min() >= 0
    corners = head.template[head.faces[head.contour_faces]]
    contour = (corners * head.contour_barycentrics[..., None]).sum(-2)
    assert (np.diff(contour[0, :, 0]) > 0).all()  # from the subject's right ear to the left one
    assert (np.diff(contour[0, :, 1]) < 0)[:8].all() and (np.diff(contour[0, :, 1]) > 0)[8:].all()
    assert contour[0, :, 1].argmin() == 8  # the chin
    # rows 1..39 are heads turned to the subject's right: there the right half's points move to the front
    assert contour[39, 2, 2] > contour[0, 2, 2] + 0.01
    assert abs(contour[39, 14, 2] - contour[0, 14, 2]) < 1e-3
    assert contour[78, 14, 2] > contour[0, 14, 2] + 0.01


def test_joints_follow_the_face_but_not_its_expressions(head):
    rest = head.joint_regressor @ head.template
    for name in ("left_eyeball", "right_eyeball"):
        centre = head.template[head.masks[name]].mean(0)
        joint = rest[3 if name[0] == "l" else 4]
        assert np.linalg.norm(joint - centre) < 2.5e-3
    shift = np.einsum("jv,vce->jce", head.joint_regressor, head.expression_basis)
    assert np.abs(shift).max() < 2.1e-3  # blinking draws the eyeballs back by 2 mm
    assert np.abs(shift[:3]).max() < 4e-4


def test_jaw_open_shape_approximates_the_joint(head):
    params = zero_params(head)
    from zero1a_jax.flame.head_rig import JAW_ANGLE

    turned, _ = forward(head, params.replace(jaw=np.array([JAW_ANGLE, 0, 0], np.float32)))
    linear = moved(head, jawOpen=1.0)
    gap = np.linalg.norm(np.asarray(turned) - linear, axis=1)
    travel = np.linalg.norm(linear - head.template, axis=1)
    assert travel.max() > 0.02
    assert gap.max() < 0.05 * travel.max()
    lips = points(head, linear, (13, 14))
    assert lips[0, 1] - lips[1, 1] > 0.02
    assert travel[head.masks["teeth_lower"]].min() > 0.01 and travel[head.masks["teeth_upper"]].max() < 1e-6


def test_mouth_close_undoes_the_gap_of_jaw_open(head):
    lips = points(head, moved(head, jawOpen=1.0, mouthClose=1.0), (13, 14))
    assert abs(lips[0, 1] - lips[1, 1]) < 1.5e-3


@pytest.mark.parametrize("side,upper,lower", [("Left", 386, 374), ("Right", 159, 145)])
def test_blink_closes_the_lids_in_front_of_the_eyeball(head, side, upper, lower):
    shut = moved(head, **{f"eyeBlink{side}": 1.0})
    lids = points(head, shut, (upper, lower))
    wide = points(head, head.template, (upper, lower))
    assert wide[0, 1] - wide[1, 1] > 8e-3
    assert abs(lids[0, 1] - lids[1, 1]) < 4e-4
    ball = head.masks[f"{side.lower()}_eyeball"]
    lid = head.masks[f"{side.lower()}_eyelids"]
    faces = head.faces[lid[head.faces].all(1)]
    mixes = np.random.default_rng(0).dirichlet([1, 1, 1], 20)
    centre, radius = 0.5 * (head.template[ball].max(0) + head.template[ball].min(0)), 0.0122
    centre[2] = head.template[ball, 2].min() + radius
    for weight in (0.25, 0.5, 0.75, 1.0):  # the lid stays outside the ball on its way
        v = moved(head, **{f"eyeBlink{side}": weight})
        lid_points = np.einsum("kb,fbc->fkc", mixes, v[faces]).reshape(-1, 3)
        away = np.linalg.norm(lid_points - centre - [0, 0, -0.002 * weight], axis=1)
        assert away.min() > radius


def test_gaze_shapes_turn_the_eyes(head):
    pupils = {s: head.masks["pupil"] & head.masks[f"{s}_eyeball"] for s in ("left", "right")}

    def gaze(**weights):
        shift = moved(head, **weights) - head.template
        return {s: shift[m].mean(0) for s, m in pupils.items()}

    assert gaze(eyeLookInLeft=1.0)["left"][0] < -3e-3 and gaze(eyeLookOutLeft=1.0)["left"][0] > 3e-3
    assert gaze(eyeLookInRight=1.0)["right"][0] > 3e-3 and abs(gaze(eyeLookInRight=1.0)["left"]).max() == 0
    assert gaze(eyeLookDownRight=1.0)["right"][1] < -2e-3 and gaze(eyeLookUpLeft=1.0)["left"][1] > 2e-3


def test_smile_lifts_and_widens_the_mouth(head):
    before = points(head, head.template, (61, 291))
    after = points(head, moved(head, mouthSmileLeft=1.0, mouthSmileRight=1.0), (61, 291))
    assert after[1, 0] - before[1, 0] > 4e-3 and after[0, 0] - before[0, 0] < -4e-3
    assert (after[:, 1] - before[:, 1] > 4e-3).all()


def test_eyes_lower_the_lids_by_pose_correctives(head):
    params = zero_params(head)
    eyes = np.zeros((2, 3), np.float32)
    eyes[:, 0] = 0.25
    looking, _ = forward(head, params.replace(eyes=eyes))
    drop = points(head, head.template, (386, 159)) - points(head, np.asarray(looking), (386, 159))
    assert (drop[:, 1] > 1e-3).all()


def test_random_identities_keep_lips_closed_and_eyeballs_round(head):
    rng = np.random.default_rng(3)
    for _ in range(8):
        v = head.template + head.shape_basis @ rng.normal(size=head.shape_basis.shape[-1])
        lips = points(head, v, (13, 14, 82, 87, 312, 317))
        assert np.abs(lips[::2, 1] - lips[1::2, 1]).max() < 5e-4
        for name in ("left_eyeball", "right_eyeball"):
            shift = (v - head.template)[head.masks[name]]
            assert np.ptp(shift, axis=0).max() < 1e-4
        width = np.ptp(v[head.masks["face"], 0])
        assert 0.09 < width < 0.19


@pytest.mark.slow
def test_asset_is_the_construction(head):
    from zero1a_jax.flame import procedural

    built = procedural.construct()
    shipped = dict(np.load(io.BytesIO(procedural._ASSET.read_bytes())))
    assert set(built) == set(shipped)
    for name, array in built.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, shipped[name], atol=1e-6, err_msg=name)
        else:
            assert np.array_equal(array, shipped[name]), name


def test_asset_holds_the_constructions_patches(head):
    """The cheap part of the construction: eyes, mouth, ears, loose parts as shipped."""
    from scipy.spatial import cKDTree

    from zero1a_jax.flame import head_parts, head_patches
    from zero1a_jax.flame.head_mesh import proportion

    tree = cKDTree(head.template)
    eye, inner, _ = head_patches.eye_rings()
    mouth, pocket = head_patches.mouth_rings()
    rings = [*eye[:4], *inner, *mouth[:4], *pocket]
    rings += [part[0] for part in (head_parts.eyeball(), head_parts.teeth(True), head_parts.tongue())]
    distance, _ = tree.query(proportion(np.concatenate(rings)))
    assert distance.max() < 1e-6
