"""3D Gaussians to screen space: the local affine projection of EWA splatting, with gsplat's constants.

Every quantity is an [N] vector (structure of arrays): on a CPU this is several times faster than
batches of 3x3 matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from zero1a_jax.rasterizer.harmonics import colours, columns
from zero1a_jax.rasterizer.stages import gradient_apart
from zero1a_jax.types import Array, Camera, Gaussians

BLUR = 0.3  # pixels squared, added to both variances (gsplat's eps2d)
_MAX_LOG_SCALE = 30.0  # beyond: float32 would overflow
_MAX_DEVIATION = 1e5  # pixels; a splat this wide is constant over any image


class Lens(NamedTuple):
    """What is drawn, and how it is projected. Static; see api.render."""

    antialiased: bool
    near: float  # metres
    far: float
    radius_clip: float  # pixels


class Splats(NamedTuple):
    """Projected Gaussians: the columns of the kernels' table, see `table.Column`.

    With (dx, dy) the offset of a pixel from the mean, the falloff is exp(-(u*u + v*v)) where
    u = l00 dx + l01 dy and v = l11 dy: the Cholesky factor of the conic. A sum of squares cannot turn
    negative by rounding, as the usual quadratic form does for needles.
    """

    x: jax.Array  # [N] pixels
    y: jax.Array
    l00: jax.Array  # [N] 1/pixels
    l01: jax.Array
    l11: jax.Array
    log_opacity: jax.Array  # [N]
    red: jax.Array
    green: jax.Array
    blue: jax.Array
    depth: jax.Array  # [N] camera z


class Extent(NamedTuple):
    """What binning needs beyond the splats."""

    variance_x: jax.Array  # [N] pixels squared, blurred
    variance_y: jax.Array
    radius: jax.Array  # [N] pixels, three standard deviations of the longer axis
    drawn: jax.Array  # [N] bool, between the planes and not too small


def _rotation(quats: Array) -> list[list[jax.Array]]:
    parts = columns(quats)
    inverse = jax.lax.rsqrt(jnp.maximum(sum(part * part for part in parts), 1e-24))
    w, x, y, z = (part * inverse for part in parts)
    return [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]


def _camera_centre(world_to_camera: Array) -> jax.Array:
    """The last column of the inverse of any 4x4 matrix, [3]; closed form, so that no LAPACK is needed."""
    a, b, c = world_to_camera[:3, :3]
    t, bottom, corner = world_to_camera[:3, 3], world_to_camera[3, :3], world_to_camera[3, 3]
    adjugate = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], 1)
    solved = adjugate @ t / jnp.dot(a, jnp.cross(b, c))
    return -solved / (corner - jnp.dot(bottom, solved))


def _deviation_rows(gaussians: Gaussians, camera: Camera, point: tuple) -> tuple[list, list]:
    """The rows of J R S, [2][3] of [N]: screen-space deviation along each of the Gaussian's axes."""
    x, y, z = point
    (fx, fy), (cx, cy) = camera.focal, camera.center
    inverse_z = 1 / z
    # gsplat's guard: J is taken at most 15 % of the image beyond its border; a crop has its whole's border.
    whole = (0, 0, camera.width, camera.height) if camera.whole is None else camera.whole
    left, top, right, bottom = whole
    margin_x, margin_y = 0.15 * (right - left) / fx, 0.15 * (bottom - top) / fy
    slope_x = jnp.clip(x * inverse_z, (left - cx) / fx - margin_x, (right - cx) / fx + margin_x)
    slope_y = jnp.clip(y * inverse_z, (top - cy) / fy - margin_y, (bottom - cy) / fy + margin_y)
    jx, jy = fx * inverse_z, fy * inverse_z
    view = camera.world_to_camera
    row_x = [jx * (view[0, k] - slope_x * view[2, k]) for k in range(3)]
    row_y = [jy * (view[1, k] - slope_y * view[2, k]) for k in range(3)]
    rotation = _rotation(gaussians.quats)
    scales = columns(jnp.exp(jnp.minimum(gaussians.log_scales, _MAX_LOG_SCALE)))
    row_x, row_y, rotation, scales = gradient_apart((row_x, row_y, rotation, scales))

    def times_axes(row: list) -> list:
        products = [_dot(row, [rotation[k][c] for k in range(3)]) * scales[c] for c in range(3)]
        return [jnp.clip(value, -_MAX_DEVIATION, _MAX_DEVIATION) for value in products]

    return times_axes(row_x), times_axes(row_y)


def project(
    gaussians: Gaussians,
    camera: Camera,
    screen_offset: jax.Array | None = None,
    *,
    lens: Lens,
) -> tuple[Splats, Extent]:
    """Projects Gaussians [N] with one camera (no leading axes).

    screen_offset [N, 2], pixels, is added to the projected means. Gaussians that are not between the planes
    get a harmless stand-in. Source: gsplat's documentation of its projection.
    """
    view = camera.world_to_camera
    place = columns(gaussians.means)
    x, y, z = (_dot(view[row, :3], place) + view[row, 3] for row in range(3))
    between = (z > lens.near) & (z < lens.far)
    # Values and gradients of what lies behind must stay finite, because 0 * inf is NaN.
    x, y, z = (jnp.where(between, value, other) for value, other in ((x, 0.0), (y, 0.0), (z, 1.0)))
    row_x, row_y = gradient_apart(_deviation_rows(gaussians, camera, (x, y, z)))
    area = _determinant(row_x, row_y)
    raw_x, raw_y, covariance = _dot(row_x, row_x), _dot(row_y, row_y), _dot(row_x, row_y)
    variance_x, variance_y = raw_x + BLUR, raw_y + BLUR
    determinant = area + BLUR * (raw_x + raw_y) + BLUR * BLUR
    l00 = jnp.sqrt(0.5 * variance_y / determinant)
    log_opacity = jax.nn.log_sigmoid(jnp.maximum(gaussians.opacity_logits, -80.0))
    if lens.antialiased:
        ratio = jnp.maximum(area / determinant, 1e-12)
        log_opacity = log_opacity + 0.5 * jnp.log(ratio)
    u = camera.focal[0] * x / z + camera.center[0]
    v = camera.focal[1] * y / z + camera.center[1]
    if screen_offset is not None:
        moved_x, moved_y = columns(screen_offset)
        u, v = u + moved_x, v + moved_y
    rgb = colours(gaussians.sh, gaussians.means, _camera_centre(view))
    l01, l11 = -covariance / variance_y * l00, jnp.sqrt(0.5 / variance_y)
    splats = Splats(u, v, l00, l01, l11, log_opacity, *rgb, z)
    middle = 0.5 * (variance_x + variance_y)
    longest = middle + jnp.sqrt(jnp.maximum(middle * middle - determinant, 0.0))
    radius = 3 * jnp.sqrt(longest)
    extent = Extent(variance_x, variance_y, radius, between & (radius > lens.radius_clip))
    return splats, jax.tree.map(jax.lax.stop_gradient, extent)


def _dot(a: Sequence | Array, b: Sequence | Array) -> jax.Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _determinant(row_x: list, row_y: list) -> jax.Array:
    """det(A A^T) of the 2x3 matrix A, as the squared norm of the cross product of its rows.

    The usual c00 c11 - c01^2 cancels for needles; this does not.
    """
    (a, b, c), (d, e, f) = row_x, row_y
    return (b * f - c * e) ** 2 + (c * d - a * f) ** 2 + (a * e - b * d) ** 2
