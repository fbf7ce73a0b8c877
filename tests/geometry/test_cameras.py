"""Cameras against GaussianAvatars' projections, and the canonical framing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.geometry import crop, look_at, orbit, portrait_camera, project, resize
from zero1a_jax.geometry.cameras import position
from zero1a_jax.types import Camera


@pytest.mark.parity
def test_projection_agrees_with_gaussian_avatars(reference):
    """Its pixels count centres from 0, ours from 0.5."""
    arrays = reference("flame/cameras.npz")
    names = sorted({key.split("_")[0] for key in arrays})
    assert names
    for name in names:
        pick = {key[len(name) + 1 :]: value for key, value in arrays.items() if key.startswith(f"{name}_")}
        to_world = pick["c2w_opengl"] * np.array([1.0, -1, -1, 1])  # OpenGL's y and z axes turn around
        width, height = int(pick["width"]), int(pick["height"])
        focal = [0.5 * width / np.tan(0.5 * pick["fovx"]), 0.5 * height / np.tan(0.5 * pick["fovy"])]
        camera = Camera(
            np.linalg.inv(to_world).astype(np.float32),
            np.array(focal, np.float32),
            np.array([width / 2, height / 2], np.float32),
            height,
            width,
        )
        pixels, depth = project(camera, pick["points"])
        np.testing.assert_allclose(depth, pick["depth"], atol=3e-6)
        # theirs divides by w + 1e-7 in float32, worth a few thousandths of a pixel far off centre
        np.testing.assert_allclose(pixels - 0.5, pick["pixel"], atol=5e-3, rtol=2e-5)
        np.testing.assert_allclose(position(camera), pick["camera_center"], atol=3e-6)


def test_orbit_goes_where_it_says():
    target = jnp.array([0.1, 0.2, 0.3])
    matrix = orbit(target, jnp.array([0.0, np.pi / 2, 0.0]), jnp.array([0.0, 0.0, 0.5]), 2.0)
    np.testing.assert_allclose(np.asarray(matrix) @ np.append(target, 1.0), [[0, 0, 2, 1]] * 3, atol=1e-6)
    rotation = matrix[:, :3, :3]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (3, 1, 1)), atol=1e-6
    )
    np.testing.assert_allclose(jnp.linalg.det(rotation), 1.0, atol=1e-6)
    eyes = -jnp.einsum("bji,bj->bi", rotation, matrix[:, :3, 3]) - target
    expected = [[0, 0, 2], [2, 0, 0], [0, 2 * np.sin(0.5), 2 * np.cos(0.5)]]
    np.testing.assert_allclose(eyes, expected, atol=1e-6)


def test_portrait_camera_broadcasts_and_centres_the_target():
    target = jnp.array([0.0, 1.5, 0.02])
    yaw = jnp.linspace(-1, 1, 3)[:, None]
    pitch = jnp.linspace(-0.3, 0.3, 2)
    camera = portrait_camera(target, yaw, pitch, 128)
    assert camera.world_to_camera.shape == (3, 2, 4, 4) and camera.focal.shape == (3, 2, 2)
    assert (camera.height, camera.width) == (128, 128)
    pixels, depth = project(camera, target[None])
    np.testing.assert_allclose(pixels, np.full((3, 2, 1, 2), 64.0), atol=1e-3)
    np.testing.assert_allclose(depth, np.ones((3, 2, 1)), atol=1e-6)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        portrait_camera(target, 0.0, 0.0, 0)


def test_axes_of_the_picture():
    """From the front +x (the subject's left) is on the right, +y is up, and 20 degrees span the frame."""
    camera = portrait_camera(jnp.zeros(3), 0.0, 0.0, 100)
    half = np.tan(np.radians(10.0))
    pixels, _ = project(camera, jnp.array([[half, 0, 0], [0, half, 0.0]]))
    np.testing.assert_allclose(pixels, [[100, 50], [50, 0]], atol=1e-3)


def test_resize_keeps_the_view():
    camera = portrait_camera(jnp.zeros(3), 0.3, 0.1, 100)
    points = 0.1 * np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    small = resize(camera, 50, 200)
    assert (small.height, small.width) == (50, 200)
    np.testing.assert_allclose(
        project(small, points)[0], project(camera, points)[0] * np.array([2.0, 0.5]), rtol=1e-5
    )


def test_gradient_of_a_projection():
    points = 0.1 * np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)

    @jax.jit
    def total(yaw):
        return jnp.sum(jnp.sin(project(portrait_camera(jnp.zeros(3), yaw, 0.1, 64), points)[0] / 20))

    step = 1e-2
    difference = (total(0.4 + step) - total(0.4 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(0.4), difference, rtol=2e-3)


def test_points_in_the_camera_plane_stay_finite():
    camera = Camera(np.eye(4, dtype=np.float32), np.ones(2, np.float32), np.zeros(2, np.float32), 4, 4)
    value, gradient = jax.value_and_grad(lambda p: jnp.sum(project(camera, p)[0]))(
        jnp.array([[0.1, 0.2, 0.0]])
    )
    assert bool(jnp.isfinite(value)) and bool(jnp.all(jnp.isfinite(gradient)))


def test_look_at_a_given_up():
    matrix = look_at(jnp.array([0.0, 3.0, 0.0]), jnp.zeros(3), jnp.array([0.0, 0.0, -1.0]))
    np.testing.assert_allclose(matrix @ np.array([0, 0, -1.0, 1]), [0, -1, 3, 1], atol=1e-6)


def test_crops_move_the_centre_and_know_the_whole():
    camera = portrait_camera(jnp.zeros(3), jnp.array([0.3, -0.2]), 0.1, 64)
    points = 0.1 * np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    part = crop(camera, jnp.array([3, 4]), 10, 20, 30)
    moved = project(camera, points)[0] - project(part, points)[0]
    np.testing.assert_allclose(moved, np.broadcast_to([[[10, 3]], [[10, 4]]], moved.shape), atol=1e-4)
    assert (part.height, part.width) == (20, 30)
    again = crop(resize(part, 40, 60), 6, -2, 8, 8)
    np.testing.assert_allclose(again.whole, [[-18, -12, 110, 116], [-18, -14, 110, 114]], atol=1e-4)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        crop(camera, 0, 0, 0, 3)
