"""Triangle frames against GaussianAvatars, and what happens to triangles without area."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.geometry import at_points, face_normals, triangle_frames, vertex_normals

frames = jax.jit(triangle_frames)


@pytest.mark.parity
def test_frames(reference):
    arrays = reference("flame/rigging.npz")
    centre, rotation, scale = frames(arrays["verts"], arrays["faces"])
    np.testing.assert_allclose(centre, arrays["face_center"], rtol=0, atol=1e-6)
    # Of 4,887 numbers one is 1.02e-6 off on a Xeon where XLA does not optimise, as in the default suite.
    np.testing.assert_allclose(rotation, arrays["face_orien_mat_f64"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(scale, arrays["face_scaling_f64"][:, 0], rtol=1e-6)
    with jax.enable_x64(True):
        _, rotation, scale = frames(arrays["verts"].astype(np.float64), arrays["faces"])
        np.testing.assert_allclose(rotation, arrays["face_orien_mat_f64"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(scale, arrays["face_scaling_f64"][:, 0], rtol=1e-12)


def test_frames_move_with_the_triangle():
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(2, 3, 9, 3)).astype(np.float32)
    faces = np.arange(9).reshape(3, 3)
    centre, rotation, scale = frames(vertices, faces)
    assert centre.shape == (2, 3, 3, 3) and rotation.shape == (2, 3, 3, 3, 3) and scale.shape == (2, 3, 3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    centre2, rotation2, scale2 = frames((2.0 * vertices @ turn.T + 0.5).astype(np.float32), faces)
    np.testing.assert_allclose(centre2, 2.0 * centre @ turn.T + 0.5, atol=1e-5)
    np.testing.assert_allclose(rotation2, turn @ rotation, atol=1e-5)
    np.testing.assert_allclose(scale2, 2.0 * scale, rtol=1e-5)


def test_degenerate_triangles_keep_a_rotation_and_finite_gradients():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0.5, 0.5, 0.5], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [3, 3, 3], [0, 0, 4], [4, 0, 4], [0, 1, 4]])
    _, rotation, scale = frames(vertices, faces)
    identity = np.tile(np.eye(3), (len(faces), 1, 1))
    np.testing.assert_allclose(rotation.transpose(0, 2, 1) @ rotation, identity, atol=1e-6)
    np.testing.assert_allclose(jnp.linalg.det(rotation), 1.0, atol=1e-6)
    assert bool(jnp.all(scale > 0)) and bool(jnp.all(jnp.isfinite(jnp.log(scale))))

    def total(v):
        centre, turn, size = triangle_frames(v, faces)
        return jnp.sum(centre) + jnp.sum(turn) + jnp.sum(jnp.log(size))

    assert bool(jnp.all(jnp.isfinite(jax.jit(jax.grad(total))(vertices))))


def test_gradient_of_a_frame():
    vertices = np.random.default_rng(2).normal(size=(3, 3))
    weights = np.random.default_rng(3).normal(size=(3, 3))

    def total(v):
        centre, rotation, scale = triangle_frames(v, np.array([[0, 1, 2]]))
        return jnp.sum(centre) + jnp.sum(weights * rotation[0]) + 3 * jnp.sum(scale)

    with jax.enable_x64(True):
        total = jax.jit(total)
        gradient = jax.grad(total)(jnp.asarray(vertices))
        for index in np.ndindex(3, 3):
            shift = np.zeros((3, 3))
            shift[index] = 1e-6
            difference = (total(vertices + shift) - total(vertices - shift)) / 2e-6
            np.testing.assert_allclose(gradient[index], difference, atol=1e-7, rtol=1e-7)


def test_normals_of_a_sphere_point_out():
    from scipy.spatial import ConvexHull

    points = np.random.default_rng(0).normal(size=(200, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    faces = ConvexHull(points).simplices
    corners = points[faces]
    inward = (
        np.sum(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * corners[:, 0], -1) < 0
    )
    faces[inward] = faces[inward][:, ::-1]
    vertices = jnp.asarray(points, jnp.float32)
    assert float(jnp.min(jnp.sum(face_normals(vertices, faces) * corners.mean(1), -1))) > 0.9
    normals = vertex_normals(jnp.stack([vertices, 2 * vertices]), faces)
    assert normals.shape == (2, 200, 3)
    assert float(jnp.min(jnp.sum(normals * points, -1))) > 0.95


def test_values_at_points_of_triangles():
    rng = np.random.default_rng(1)
    values, ids = rng.normal(size=(4, 3, 5)).astype(np.float32), np.array([3, 0, 3, 2])
    weights = rng.dirichlet(np.ones(3), len(ids)).astype(np.float32)
    wanted = np.einsum("pkc,pk->pc", values[ids], weights)
    np.testing.assert_allclose(at_points(jnp.asarray(values), ids, weights), wanted, atol=1e-6)
