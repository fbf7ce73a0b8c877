"""Rotations: wxyz quaternions, axis-angle vectors, Euler angles and matrices.

Everything broadcasts over leading axes and is differentiable at the identity.
"""

from __future__ import annotations

import jax.numpy as jnp

from zero1a_jax.types import Array

_SMALL = 1e-2  # squared angle below which a series is more exact than the closed form
_TINY = 1e-20


def _sinc(squared: Array) -> Array:
    """sin(x) / x as a function of x squared, smooth at 0."""
    small = squared < _SMALL
    angle = jnp.sqrt(jnp.where(small, 1.0, squared))
    series = 1.0 - squared / 6.0 * (1.0 - squared / 20.0 * (1.0 - squared / 42.0))
    return jnp.where(small, series, jnp.sin(angle) / angle)


def axis_angle_to_matrix(vector: Array) -> Array:
    """Rotation matrices [*B, 3, 3] of rotation vectors [*B, 3] in radians (Rodrigues).

    Written in sin(x)/x of the squared angle, so value and gradient are exact at zero.
    """
    vector = jnp.asarray(vector)
    squared = jnp.sum(vector * vector, -1)[..., None, None]
    first = _sinc(squared)
    second = 0.5 * _sinc(squared / 4.0) ** 2  # (1 - cos x) / x^2 without cancellation
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vector.shape[:-1], 3, 3)
    outer = vector[..., :, None] * vector[..., None, :]
    eye = jnp.eye(3, dtype=vector.dtype)
    return eye + first * cross + second * (outer - squared * eye)


def axis_angle_to_quat(vector: Array) -> Array:
    """Unit quaternions [*B, 4] wxyz of rotation vectors [*B, 3] in radians."""
    vector = jnp.asarray(vector)
    quarter = jnp.sum(vector * vector, -1, keepdims=True) / 4.0
    small = quarter < _SMALL
    half = jnp.sqrt(jnp.where(small, 1.0, quarter))
    series = 1.0 - quarter / 2.0 * (1.0 - quarter / 12.0 * (1.0 - quarter / 30.0))
    return jnp.concatenate([jnp.where(small, series, jnp.cos(half)), 0.5 * _sinc(quarter) * vector], -1)


def quat_to_axis_angle(quat: Array) -> Array:
    """Rotation vectors [*B, 3], of angle at most pi, of quaternions [*B, 4] wxyz (normalised here)."""
    quat = quat_normalize(quat)
    quat = jnp.where(quat[..., :1] < 0, -quat, quat)
    squared = jnp.sum(quat[..., 1:] ** 2, -1, keepdims=True)
    small = squared < 1e-8
    sine = jnp.sqrt(jnp.where(small, 1.0, squared))
    factor = jnp.where(small, 2.0 + squared / 3.0, 2.0 * jnp.arctan2(sine, quat[..., :1]) / sine)
    return factor * quat[..., 1:]


def matrix_to_axis_angle(matrix: Array) -> Array:
    """Rotation vectors [*B, 3], of angle at most pi, of rotation matrices [*B, 3, 3]."""
    return quat_to_axis_angle(matrix_to_quat(matrix))


def quat_normalize(quat: Array) -> Array:
    """Unit quaternions [*B, 4]; a zero quaternion stays (nearly) zero, with a finite gradient."""
    return quat / jnp.sqrt(jnp.maximum(jnp.sum(quat * quat, -1, keepdims=True), _TINY))


def quat_to_matrix(quat: Array) -> Array:
    """Rotation matrices [*B, 3, 3] of quaternions [*B, 4] wxyz, normalised here."""
    w, x, y, z = jnp.moveaxis(quat_normalize(jnp.asarray(quat)), -1, 0)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return jnp.stack(rows, -1).reshape(*quat.shape[:-1], 3, 3)


def matrix_to_quat(matrix: Array) -> Array:
    """Unit quaternions [*B, 4] wxyz of rotation matrices [*B, 3, 3].

    Of the four textbook branches the one with the largest component is taken, so it stays exact
    near half turns. The sign is that which makes this component positive.
    """
    m = jnp.asarray(matrix)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    squares = jnp.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1)
    rows = [
        (squares[..., 0], a, b, c),
        (a, squares[..., 1], d, e),
        (b, d, squares[..., 2], f),
        (c, e, f, squares[..., 3]),
    ]
    candidates = jnp.stack([jnp.stack(row, -1) for row in rows], -2)
    best = jnp.argmax(squares, -1)[..., None]
    chosen = jnp.take_along_axis(candidates, best[..., None], -2)[..., 0, :]
    return quat_normalize(chosen)


def quat_multiply(first: Array, second: Array) -> Array:
    """Hamilton product [*B, 4] wxyz: the rotation `second`, then `first`."""
    w, x, y, z = jnp.moveaxis(jnp.asarray(first), -1, 0)
    a, b, c, d = jnp.moveaxis(jnp.asarray(second), -1, 0)
    return jnp.stack(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ],
        -1,
    )


def quat_rotate(quat: Array, vector: Array) -> Array:
    """Vectors [*B, 3] turned by quaternions [*B, 4] wxyz."""
    return jnp.einsum("...ij,...j->...i", quat_to_matrix(quat), vector, precision="highest")


def euler_xyz_to_matrix(angles: Array) -> Array:
    """Rotation matrices Rx Ry Rz [*B, 3, 3] of angles [*B, 3] about x, y, z in radians."""
    unit = jnp.eye(3, dtype=jnp.asarray(angles).dtype)
    x, y, z = (axis_angle_to_matrix(angles[..., i, None] * unit[i]) for i in range(3))
    return jnp.einsum("...ij,...jk,...kl->...il", x, y, z, precision="highest")
