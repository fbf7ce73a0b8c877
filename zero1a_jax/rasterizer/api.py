"""render() and inspect(): the rasterizer's public face."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.rasterizer import checks, vjp
from zero1a_jax.rasterizer.channels import over
from zero1a_jax.rasterizer.project import Lens, project
from zero1a_jax.rasterizer.tiles import Grid, Lists, boxes, count, tile_lists
from zero1a_jax.types import Camera, Gaussians, Inspection, Render

NEAR = 0.01  # metres


def has_kernels() -> bool:
    """Whether this process's default device runs the Pallas kernels; a CPU does so interpreted."""
    return vjp.pallas_plan() is not None


def render(
    gaussians: Gaussians,
    camera: Camera,
    *,
    background: jax.Array,
    features: jax.Array | None = None,
    capacity: int | None = None,
    implementation: str = "auto",
    screen_offset: jax.Array | None = None,
    absolute_gradient: bool = False,
    antialiased: bool = False,
    near: float = NEAR,
    far: float = math.inf,
    radius_clip: float = 0.0,
) -> Render:
    """Renders 3D Gaussians with one camera or a batch of cameras.

    Everything has static shapes and runs inside jit, scan, vmap and pmap; a batch's gradient costs what
    a loop's costs. Differentiable in all five fields of `gaussians`, the camera's three arrays
    (world_to_camera as a free 4x4 matrix), `background`, `features` and `screen_offset`, through rgb, alpha,
    depth and features.

    Args:
      gaussians: [N] unconstrained values in the world's frame; N may be 0. The degree of `sh`, 0 to 3,
        follows from its K of 1, 4, 9 or 16.
      camera: OpenCV cameras with leading axes *B (none, or any), one image size. `geometry.crop` gives the
        camera of a part of the image.
      background: [3], or [*B, 3] colours behind the Gaussians.
      features: [N, D] or [*B, N, D] values to composite like colours, over zeros, in the same pass. Time
        grows with D; experiments/benchmarks/raster_features.py measures it.
      capacity: how many intersections of a Gaussian with a tile (8x8 pixels; Pallas: 16x16 on a GPU,
        32x32 on a TPU) each camera has room for; static. What suffices for small tiles suffices for
        large ones. None takes `default_capacity`. See `suggest_capacity`.
      implementation: "xla" runs anywhere; "pallas" on NVIDIA GPUs of compute capability 9.0 or newer and
        on TPUs, with at most 118 features, and, interpreted and slow, on a CPU; "auto" takes Pallas where
        the default device compiles it, and logs its choice.
      screen_offset: [*B, N, 2] pixels, added to the projected means. Zeros, whose gradient is the
        screen-space gradient that density control needs.
      absolute_gradient: the gradient of screen_offset, and of nothing else, is the sum over pixels of
        absolute values instead (Ye et al. 2024, AbsGS; gsplat's absgrad). "xla" only.
      antialiased: scales opacity by sqrt(det before / det after the 0.3 px^2 blur), as Mip-Splatting.
      near, far: metres; only what lies between is drawn.
      radius_clip: pixels; Gaussians whose `radii` would be at most this are not drawn.

    Returns: Render. Of radii [*B, N], three standard deviations of the longer axis in pixels, 0 where no
    pixel can be touched, there is no gradient. overflow [*B] int32 is how many intersections did not fit the
    capacity: they are the farthest ones, and the picture lacks them wherever overflow is not 0.

    Raises: ValueError where shapes or options do not fit.
    Source: Kerbl et al. 2023, with gsplat's constants: alpha is at most 0.99, below 1/255 it is skipped,
    and the Gaussian that would bring the transmittance to 1e-4 or less ends the pixel.
    """
    grid = Grid(camera.height, camera.width, vjp.tile_size(implementation))
    batch = checks.scene(gaussians, camera)
    gaussians, camera = jax.tree.map(jnp.asarray, (gaussians, camera))
    size, dtype = gaussians.means.shape[0], gaussians.means.dtype
    background, features = jax.tree.map(lambda value: jnp.asarray(value, dtype), (background, features))
    checks.inputs(size, batch, background, features, screen_offset)
    if absolute_gradient and screen_offset is None:
        raise ValueError("absolute_gradient needs screen_offset, zeros [*B, N, 2], to be the gradient of.")
    shift = jnp.zeros((*batch, size, 2), dtype) if screen_offset is None else screen_offset
    absolute, shift = (shift, jax.lax.stop_gradient(shift)) if absolute_gradient else (None, shift)
    lens = Lens(antialiased, near, far, radius_clip)
    widths = (3, 1) if features is None else (3, 1, features.shape[-1])
    scene = _Scene(gaussians, lens, grid, _room(capacity, size, grid), (*widths, 1))
    kernel = functools.partial(vjp.composite, grid=grid, widths=widths, implementation=implementation)
    images, radii, overflow = _each_camera(kernel, scene, camera, shift, absolute, features)
    rgb, depth, *composited, alpha = images
    rgb = over(rgb, alpha, jnp.broadcast_to(background, (*batch, 3))[..., None, None, :])
    return Render(rgb, alpha[..., 0], depth[..., 0], radii, overflow, composited[0] if composited else None)


def inspect(
    gaussians: Gaussians,
    camera: Camera,
    *,
    capacity: int | None = None,
    antialiased: bool = False,
    near: float = NEAR,
    far: float = math.inf,
    radius_clip: float = 0.0,
) -> Inspection:
    """What is no weighted sum: median depth and how many Gaussians a pixel consists of. No gradient.

    A pass of its own, in jax.numpy on every device, for about the time of `render` forward. Arguments,
    batches and overflow are those of `render`.

    Returns: Inspection. The median depth is the camera z, in metres, of the Gaussian behind which the
    transmittance is 0.5 or less, 0 where it stays above; a Gaussian counts where it is drawn.
    Raises: ValueError where shapes or options do not fit.
    """
    checks.scene(gaussians, camera)
    gaussians, camera = jax.tree.map(jnp.asarray, (gaussians, camera))
    grid = Grid(camera.height, camera.width)
    room = _room(capacity, gaussians.means.shape[0], grid)
    scene = _Scene(gaussians, Lens(antialiased, near, far, radius_clip), grid, room, (1, 1))
    kernel = functools.partial(vjp.inspect, grid=grid)
    (median, number), _, overflow = _each_camera(kernel, scene, camera)
    return Inspection(median[..., 0], number[..., 0].astype(jnp.int32), overflow)


def default_capacity(size: int, height: int, width: int) -> int:
    """The capacity that `render` takes for `size` Gaussians where none is given.

    Sixteen tiles a Gaussian and sixteen Gaussians a tile, in steps of 4096, but never more than there can
    be. That is several times what a head of small Gaussians needs; a scene of large ones can need more.
    """
    tiles = Grid(height, width).tiles
    # On a CPU room that stays empty is nearly free (see tile_lists), a wrong picture is not.
    return max(1, min(size * tiles, 4096 * math.ceil((16 * size + 16 * tiles) / 4096)))


def count_intersections(
    gaussians: Gaussians,
    camera: Camera,
    *,
    implementation: str = "xla",
    antialiased: bool = False,
    near: float = NEAR,
    far: float = math.inf,
    radius_clip: float = 0.0,
) -> jax.Array:
    """The capacity that `render` needs to draw everything, [*B] int32. Exact and jittable.

    Arguments are those of `render`. Counts pairs of a Gaussian and a tile within the box in which its alpha
    reaches 1/255; saturates at 2^31 - 1. The 8x8 tiles of "xla", the default, need the most: what suffices
    for them suffices for every implementation.
    """
    grid = Grid(camera.height, camera.width, vjp.tile_size(implementation))
    lens = Lens(antialiased, near, far, radius_clip)
    batch = checks.scene(gaussians, camera)
    gaussians, camera = jax.tree.map(jnp.asarray, (gaussians, camera))
    if gaussians.means.shape[0] == 0:
        return jnp.zeros(batch, jnp.int32)

    def one(camera: Camera) -> jax.Array:
        return count(boxes(*project(gaussians, camera, lens=lens), grid), grid)

    for _ in batch:
        one = jax.vmap(one)
    return one(camera)


_count = jax.jit(
    count_intersections, static_argnames=("implementation", "antialiased", "near", "far", "radius_clip")
)


def suggest_capacity(
    gaussians: Gaussians,
    camera: Camera,
    *,
    margin: float = 1.25,
    **options: Any,
) -> int:
    """A capacity with room for `margin` times what these cameras need: a power of two, at least 4096.

    `options` are those of `count_intersections`. For the host's loop, as it reads the count back from the
    device: not inside jit. Powers of two keep the number of compilations small while the scene grows.
    """
    needed = _count(gaussians, camera, **options)
    return max(4096, 1 << math.ceil(math.log2(max(1.0, margin * int(needed.max(initial=1))))))


class _Scene(NamedTuple):
    """What all cameras share."""

    gaussians: Gaussians
    lens: Lens
    grid: Grid
    capacity: int
    widths: tuple[int, ...]  # channels of the kernel's images


def _room(capacity: int | None, size: int, grid: Grid) -> int:
    if capacity is None:
        return default_capacity(size, grid.height, grid.width)
    if not isinstance(capacity, int | np.integer) or capacity < 1:
        raise ValueError(f"capacity must be a positive Python integer (it is static); got {capacity!r}.")
    return int(capacity)


def _each_camera(
    kernel: Callable,
    scene: _Scene,
    camera: Camera,
    shift: jax.Array | None = None,
    absolute: jax.Array | None = None,
    features: jax.Array | None = None,
) -> tuple[tuple[jax.Array, ...], jax.Array, jax.Array]:
    """The kernel's images [*B, H, W, width] of the cameras [*B], radii [*B, N] and overflow [*B].

    kernel(table, lists, absolute) returns whole tiles. shift and absolute are [*B, N, 2], features [N, D] or
    [*B, N, D].
    """
    means, batch = scene.gaussians.means, camera.focal.shape[:-1]
    if means.shape[0] == 0:
        size = (*batch, scene.grid.height, scene.grid.width)
        images = tuple(jnp.zeros((*size, width), means.dtype) for width in scene.widths)
        return images, jnp.zeros((*batch, 0), means.dtype), jnp.zeros(batch, jnp.int32)
    project_one = functools.partial(project, lens=scene.lens)
    if not batch:
        table, lists, radii, overflow = _one_camera(project_one, scene, camera, shift, features)
        return _cut(kernel(table, lists, absolute), scene.grid), radii, overflow
    if features is not None:
        features = jnp.broadcast_to(features, (*batch, *features.shape[-2:]))
    members = (camera, shift, features)
    members, absolute = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(batch) :]), (members, absolute))
    if jax.default_backend() == "cpu":
        # One camera after the other: its arrays stay in the cache, and its gradient is added to the scene's
        # at once. Computing the projection again costs less than keeping what its gradient needs.
        again = jax.checkpoint(project_one, prevent_cse=False)
        prepared = jax.lax.map(lambda member: _one_camera(again, scene, *member), members)
    else:
        prepared = jax.vmap(lambda *member: _one_camera(project_one, scene, *member))(*members)
    table, lists, *found = prepared
    images = jax.vmap(kernel)(table, lists, absolute)
    images, found = jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), (images, found))
    return _cut(images, scene.grid), *found


def _cut(images: Sequence[jax.Array], grid: Grid) -> tuple[jax.Array, ...]:
    """Off with what whole tiles have beyond the image, [*B, H, W, width]."""
    return tuple(image[..., : grid.height, : grid.width, :] for image in images)


def _one_camera(
    project_one: Callable, scene: _Scene, camera: Camera, shift: jax.Array | None, features: jax.Array | None
) -> tuple[jax.Array, Lists, jax.Array, jax.Array]:
    """The table [N, 6 + C], see `table.Column`, the tiles' lists, radii [N] and overflow of one camera."""
    splats, extent = project_one(scene.gaussians, camera, shift)
    # Which tile a Gaussian is on is not differentiable; say so, or its sorts would be traced twice.
    fixed = jax.tree.map(jax.lax.stop_gradient, splats)
    box = boxes(fixed, extent, scene.grid)
    lists, overflow = tile_lists(fixed, box, scene.grid, scene.capacity)
    table = jnp.stack(splats, 1)
    if features is not None:
        table = jnp.concatenate([table, features], 1)
    return table, lists, jnp.where(box.visible, extent.radius, 0.0), overflow
