"""Pinhole cameras: placing them and projecting points. OpenCV axes, pixel centres at +0.5."""

from __future__ import annotations

import math

import jax.numpy as jnp

from zero1a_jax.types import Array, Camera

_NEAREST = 1e-6  # metres; keeps the division finite for points in the camera's plane


def _unit(vector: Array) -> Array:
    return vector / jnp.sqrt(jnp.maximum(jnp.sum(vector * vector, -1, keepdims=True), 1e-20))


def look_at(eye: Array, target: Array, up: Array | tuple[float, float, float] = (0.0, 1.0, 0.0)) -> Array:
    """World-to-camera matrices [*B, 4, 4] of cameras at `eye` that look at `target`.

    `eye`, `target`, `up` are [*B, 3] in metres; `up` may not be parallel to the line of sight.
    """
    eye, target, up = (jnp.asarray(value, jnp.result_type(float)) for value in (eye, target, up))
    eye, target, up = jnp.broadcast_arrays(eye, target, up)
    forward = _unit(target - eye)
    right = _unit(jnp.cross(forward, up))
    rotation = jnp.stack([right, jnp.cross(forward, right), forward], -2)
    shift = -jnp.einsum("...ij,...j->...i", rotation, eye, precision="highest")
    bottom = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0], eye.dtype), (*eye.shape[:-1], 1, 4))
    return jnp.concatenate([jnp.concatenate([rotation, shift[..., None]], -1), bottom], -2)


def orbit(target: Array, yaw: Array, pitch: Array, distance: Array | float) -> Array:
    """World-to-camera matrices [*B, 4, 4] on a sphere around `target` [*B, 3].

    Yaw 0 looks at the face from +z; positive yaw (radians) moves the camera toward +x, the
    subject's left; positive pitch moves it up. Pitch must stay within a right angle.
    """
    yaw, pitch, distance = jnp.broadcast_arrays(*map(jnp.asarray, (yaw, pitch, distance)))
    direction = jnp.stack([jnp.sin(yaw) * jnp.cos(pitch), jnp.sin(pitch), jnp.cos(yaw) * jnp.cos(pitch)], -1)
    return look_at(target + distance[..., None] * direction, target)


def portrait_camera(
    target: Array,
    yaw: Array,
    pitch: Array,
    size: int,
    *,
    distance: Array | float = 1.0,
    fov: float = math.radians(20.0),
) -> Camera:
    """The canonical framing: square images [size, size] with `target` [*B, 3] in the centre.

    Yaw and pitch as in `orbit`, broadcast together; distance in metres, fov in radians.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    world_to_camera = orbit(jnp.asarray(target), yaw, pitch, distance)
    batch = world_to_camera.shape[:-2]
    focal = jnp.full((*batch, 2), 0.5 * size / math.tan(0.5 * fov), world_to_camera.dtype)
    center = jnp.full((*batch, 2), 0.5 * size, world_to_camera.dtype)
    return Camera(world_to_camera, focal, center, size, size)


def to_camera(camera: Camera, points: Array) -> Array:
    """World points [*B, P, 3] in the camera's frame [*B, P, 3], metres."""
    rotation, shift = camera.world_to_camera[..., :3, :3], camera.world_to_camera[..., :3, 3]
    turned = jnp.einsum("...ij,...pj->...pi", rotation, points, precision="highest")
    return turned + shift[..., None, :]


def project(camera: Camera, points: Array) -> tuple[Array, Array]:
    """World points [*B, P, 3] to pixels [*B, P, 2] (x, y) and depth [*B, P] (camera z, metres).

    Leading axes of camera and points broadcast. Behind the camera depth is negative and the pixel
    meaningless: mask by depth.
    """
    local = to_camera(camera, points)
    depth = local[..., 2]
    safe = jnp.where(jnp.abs(depth) < _NEAREST, _NEAREST, depth)
    pixels = local[..., :2] / safe[..., None] * camera.focal[..., None, :] + camera.center[..., None, :]
    return pixels, depth


def position(camera: Camera) -> Array:
    """The cameras' centres [*B, 3] in the world."""
    rotation, shift = camera.world_to_camera[..., :3, :3], camera.world_to_camera[..., :3, 3]
    return -jnp.einsum("...ji,...j->...i", rotation, shift, precision="highest")


def resize(camera: Camera, height: int, width: int) -> Camera:
    """The same view at another image size: focal lengths and centre scale along."""
    scale = jnp.array([width / camera.width, height / camera.height], camera.focal.dtype)
    whole = None if camera.whole is None else camera.whole * jnp.tile(scale, 2)
    return camera.replace(
        focal=camera.focal * scale, center=camera.center * scale, height=height, width=width, whole=whole
    )


def crop(camera: Camera, top: Array | int, left: Array | int, height: int, width: int) -> Camera:
    """The camera of a part of the image: rows top..top + height, columns left..left + width.

    Top and left are pixels, numbers or [*B], and may be traced and reach outside of the image. `whole` keeps
    where the border of the whole image is, which the rasterizer's projection depends on.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a crop must be at least 1 pixel high and wide, got {height} x {width}")
    corner = jnp.broadcast_to(jnp.stack(jnp.broadcast_arrays(left, top), -1), camera.center.shape)
    corner = corner.astype(camera.center.dtype)
    whole = camera.whole
    if whole is None:
        whole = jnp.array([0, 0, camera.width, camera.height], corner.dtype)
    return camera.replace(
        center=camera.center - corner, height=height, width=width, whole=whole - jnp.tile(corner, 2)
    )
