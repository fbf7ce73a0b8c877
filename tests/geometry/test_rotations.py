"""Rotations against scipy, at zero and at half turns, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zero1a_jax.geometry import (
    axis_angle_to_matrix,
    axis_angle_to_quat,
    euler_xyz_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quat,
    quat_multiply,
    quat_rotate,
    quat_to_axis_angle,
    quat_to_matrix,
)


def vectors(seed=0):
    """Rotation vectors: zero, tiny, small, random, and half turns about each axis."""
    rng = np.random.default_rng(seed)
    half = np.pi * np.eye(3)
    sizes = np.array([0, 1e-12, 1e-7, 1e-4, 0.03, 0.0999, 0.1001, 1.0, 3.0])[:, None]
    unit = rng.normal(size=(len(sizes), 3))
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    return np.concatenate([sizes * unit, half, rng.normal(size=(20, 3))])


def scipy_quat(vector):
    return np.roll(Rotation.from_rotvec(vector).as_quat(), 1, -1)  # xyzw to wxyz


def same_up_to_sign(a, b, atol):
    np.testing.assert_allclose(np.abs(np.sum(np.asarray(a) * b, -1)), 1.0, atol=atol)


def test_axis_angle_agrees_with_scipy():
    vector = vectors()
    truth = Rotation.from_rotvec(vector).as_matrix()
    np.testing.assert_allclose(axis_angle_to_matrix(vector.astype(np.float32)), truth, atol=5e-7)
    with jax.enable_x64(True):
        np.testing.assert_allclose(axis_angle_to_matrix(vector), truth, atol=1e-14)
        same_up_to_sign(axis_angle_to_quat(vector), scipy_quat(vector), 1e-13)


def test_conversions_come_back():
    vector = vectors(1)
    truth = Rotation.from_rotvec(vector)
    quat = scipy_quat(vector).astype(np.float32)
    np.testing.assert_allclose(quat_to_matrix(3.0 * quat), truth.as_matrix(), atol=1e-6)
    same_up_to_sign(matrix_to_quat(truth.as_matrix().astype(np.float32)), quat, 1e-6)
    for found in (
        quat_to_axis_angle(-quat),
        matrix_to_axis_angle(truth.as_matrix().astype(np.float32)),
    ):
        again = Rotation.from_rotvec(np.asarray(found, np.float64)).as_matrix()
        np.testing.assert_allclose(again, truth.as_matrix(), atol=3e-6)


def test_products_and_rotating():
    first, second = Rotation.from_rotvec(vectors(2)), Rotation.from_rotvec(vectors(3))
    a, b = (scipy_quat(r.as_rotvec()).astype(np.float32) for r in (first, second))
    same_up_to_sign(quat_multiply(a, b), scipy_quat((first * second).as_rotvec()), 1e-6)
    points = np.random.default_rng(0).normal(size=(len(a), 3)).astype(np.float32)
    np.testing.assert_allclose(quat_rotate(a, points), first.apply(points), atol=3e-6)


def test_euler_angles_are_intrinsic_xyz():
    angles = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    truth = Rotation.from_euler("XYZ", angles.reshape(-1, 3)).as_matrix().reshape(4, 5, 3, 3)
    np.testing.assert_allclose(euler_xyz_to_matrix(angles), truth, atol=1e-6)


def test_derivative_at_zero_is_the_cross_product():
    jacobian = jax.jacobian(axis_angle_to_matrix)(jnp.zeros(3))
    generators = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        generators[k, j, i], generators[j, k, i] = 1, -1
    np.testing.assert_allclose(jacobian, generators, atol=1e-7)


@pytest.mark.parametrize(
    "function",
    [axis_angle_to_matrix, axis_angle_to_quat, lambda v: quat_to_axis_angle(axis_angle_to_quat(v))],
)
def test_gradients_agree_with_finite_differences(function):
    with jax.enable_x64(True):
        points = jnp.asarray(np.delete(vectors(4), [9, 10, 11], 0))  # less the half turns, where it jumps
        jacobian = jax.jit(jax.vmap(jax.jacobian(function)))(points)
        step = 1e-5
        for i in range(3):
            shift = step * jnp.eye(3)[i]
            difference = (function(points + shift) - function(points - shift)) / (2 * step)
            np.testing.assert_allclose(jacobian[..., i], difference, atol=1e-7)
