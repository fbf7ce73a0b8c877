"""Landmarks against smplx (both conventions of the contour) and their order on the embedded head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.flame import (
    contour_row,
    forward,
    frame_target,
    landmarks68,
    landmarks_drawn,
    landmarks_mediapipe,
    procedural_head,
    zero_params,
)
from zero1a_jax.flame.landmarks import equal_steps
from zero1a_jax.geometry import axis_angle_to_matrix, portrait_camera, project
from zero1a_jax.image.landmarks import DRAWN_FEATURES, DRAWN_MEDIAPIPE, OUTLINE
from zero1a_jax.types import FlameParams

forward_jit = jax.jit(forward)


@pytest.fixture(scope="module")
def case(reference, reference_model):
    arrays = reference("flame/flame_smplx.npz")
    model = reference_model(arrays["in_betas"].shape[1])
    params = FlameParams(
        shape=arrays["in_betas"],
        expression=arrays["in_expression"],
        rotation=arrays["in_global_orient"],
        neck=arrays["in_neck_pose"],
        jaw=arrays["in_jaw_pose"],
        eyes=np.stack([arrays["in_leye_pose"], arrays["in_reye_pose"]], 1),
        translation=arrays["in_transl"],
    )
    return arrays, model, params, forward_jit(model, params)[0]


@pytest.mark.parity
@pytest.mark.parametrize("neck", [True, False])
def test_landmarks68(case, neck):
    arrays, model, params, vertices = case
    name = "neck" if neck else "root"
    np.testing.assert_array_equal(contour_row(params, neck=neck), arrays[f"out_lut_index_{name}"])
    points = jax.jit(landmarks68, static_argnames="neck")(model, vertices, params, neck=neck)
    expected = np.concatenate([arrays[f"out_contour17_{name}_f64"], arrays["out_static51_f64"]], 1)
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-6)


@pytest.mark.parity
def test_mediapipe(case):
    arrays, model, _, vertices = case
    expected = arrays["out_mediapipe105_f64"]
    np.testing.assert_allclose(landmarks_mediapipe(model, vertices), expected, rtol=0, atol=1e-6)


def test_a_model_without_embeddings_is_refused(case):
    _, model, params, vertices = case
    bare = model.replace(landmark_faces=None, mediapipe_faces=None)
    for call in (
        lambda: landmarks68(bare, vertices, params),
        lambda: landmarks_mediapipe(bare, vertices),
        lambda: landmarks_drawn(bare, vertices, params),
    ):
        with pytest.raises(ValueError, match="landmark embedding"):
            call()
    with pytest.raises(ValueError, match="points that are drawn"):
        landmarks_drawn(model.replace(mediapipe_indices=np.arange(105)), vertices, params)


@pytest.mark.parametrize(
    ("degrees", "row"), [(0, 0), (-5, 5), (5, 44), (-39, 39), (-80, 39), (39, 78), (80, 78)]
)
def test_rows_by_yaw_of_root_neck_or_camera(case, degrees, row):
    """Turning left (about +y) is negative yaw: row 39 + r. The camera's yaw counts against the head's."""
    _, model, _, _ = case
    zero = zero_params(model)
    angle = jnp.array([0.0, 1.0, 0.0]) * np.radians(degrees)
    row_of = jax.jit(contour_row)
    turned = int(row_of(zero.replace(rotation=angle)))
    assert turned == int(row_of(zero.replace(neck=angle)))
    assert turned == row
    camera = portrait_camera(jnp.zeros(3), np.radians(-degrees), 0.0, 64)
    assert int(row_of(zero, camera=camera)) == turned


def test_the_visible_side_keeps_its_contour():
    """On the turned head the contour's chosen points lie nearer to the silhouette than row 0's."""
    model = procedural_head()
    params = zero_params(model).replace(rotation=jnp.array([0.0, 0.45, 0.0]))
    vertices, _ = forward_jit(model, params)
    find = jax.jit(landmarks68)
    moving, frozen = find(model, vertices, params)[:17], find(model, vertices, zero_params(model))[:17]
    assert float(jnp.abs(moving - frozen).max()) > 1e-3
    # the head turned to its left (+x): its right cheek (points 0..7) is the outer side
    assert float(jnp.min(moving[:8, 0])) <= float(jnp.min(frozen[:8, 0])) + 1e-4


def test_drawn_points_are_the_embedded_ones_then_the_outline():
    model = procedural_head()
    params = zero_params(model, (2,))
    vertices, _ = forward_jit(model, params)
    points = jax.jit(landmarks_drawn)(model, vertices, params)
    assert points.shape == (2, len(DRAWN_MEDIAPIPE), 3)
    closed = jax.jit(lambda v: landmarks_drawn(model, v, params))(vertices)  # ids known when compiling
    np.testing.assert_allclose(points, closed, rtol=0, atol=1e-6)
    embedded = np.asarray(jax.jit(landmarks_mediapipe)(model, vertices))
    place = {int(index): i for i, index in enumerate(model.mediapipe_indices)}
    rows = [place[index] for index in DRAWN_FEATURES]
    np.testing.assert_allclose(points[:, : len(rows)], embedded[:, rows], rtol=0, atol=1e-7)
    outline = points[0, -len(OUTLINE) :]
    contour = jax.jit(landmarks68)(model, vertices, params)[0, :17]
    np.testing.assert_allclose(outline[0], contour[0], atol=1e-6)
    np.testing.assert_allclose(outline[-1], contour[-1], atol=1e-6)
    assert float(outline[0, 0]) < 0 < float(outline[-1, 0])  # right temple to left temple
    assert OUTLINE[int(jnp.argmin(outline[:, 1]))] in (148, 152, 377)  # the chin
    steps = jnp.linalg.norm(jnp.diff(outline, axis=0), axis=-1)
    assert float(jnp.max(steps) / jnp.median(steps)) < 1.05  # a chord around the chin may be shorter


def test_landmarks_fall_where_a_picture_has_them():
    """From the front: subject's right on the left, brows above eyes above mouth above chin."""
    model = procedural_head()
    params = zero_params(model)
    vertices, _ = forward_jit(model, params)
    camera = portrait_camera(frame_target(model, params.shape), 0.0, 0.0, 256)
    pixels, depth = project(camera, jax.jit(landmarks68)(model, vertices, params))
    assert np.all((pixels > 0) & (pixels < 256)) and np.all(depth > 0.5)
    right_eye, left_eye = pixels[36:42].mean(0), pixels[42:48].mean(0)
    assert right_eye[0] < left_eye[0]
    assert pixels[17:27, 1].max() < right_eye[1] < pixels[48:68, 1].mean() < pixels[8, 1]
    assert pixels[0, 0] < right_eye[0] and pixels[16, 0] > left_eye[0]


def test_gradient_reaches_the_vertices_only_through_the_points():
    model = procedural_head()
    params = zero_params(model)

    def loss(p):
        vertices, _ = forward(model, p)
        return jnp.sum(landmarks_drawn(model, vertices, p) ** 2)

    gradient = jax.jit(jax.grad(loss))(params)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))
    assert float(jnp.abs(gradient.rotation).max()) > 0


def test_equal_steps_keep_the_ends_and_space_evenly():
    rng = np.random.default_rng(3)
    resampled = jax.jit(equal_steps, static_argnums=1)
    line = jnp.asarray(np.cumsum(rng.uniform(0.1, 1.0, size=(4, 9, 1)) * [[[1.0, 0.0, 0.0]]], 1))
    found = resampled(line, 27)
    np.testing.assert_allclose(found[:, 0], line[:, 0], atol=1e-6)
    np.testing.assert_allclose(found[:, -1], line[:, -1], atol=1e-5)
    steps = jnp.diff(found[..., 0], axis=-1)
    np.testing.assert_allclose(steps, jnp.broadcast_to(steps[:, :1], steps.shape), atol=1e-5)
    rotation = axis_angle_to_matrix(jnp.array([0.3, 0.2, 0.9]))
    np.testing.assert_allclose(resampled(line @ rotation.T, 27) @ rotation, found, atol=1e-5)
