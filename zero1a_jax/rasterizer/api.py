"""render(): the rasterizer's public face."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.rasterizer.harmonics import COEFFICIENTS
from zero1a_jax.rasterizer.project import project
from zero1a_jax.rasterizer.tiles import Grid, boxes, count, tile_lists
from zero1a_jax.rasterizer.vjp import composite, tile_size
from zero1a_jax.types import Camera, Gaussians, Render

NEAR = 0.01  # metres


def render(
    gaussians: Gaussians,
    camera: Camera,
    *,
    background: jax.Array,
    capacity: int | None = None,
    implementation: str = "auto",
    screen_offset: jax.Array | None = None,
    antialiased: bool = False,
    near: float = NEAR,
) -> Render:
    """Renders 3D Gaussians with one camera or a batch of cameras.

    Everything has static shapes and runs inside jit, scan, vmap and pmap; a batch's gradient costs what
    a loop's costs. Differentiable in all five fields of `gaussians`, the camera's three arrays
    (world_to_camera as a free 4x4 matrix), `background` and `screen_offset`, through rgb, alpha and depth.

    Args:
      gaussians: [N] unconstrained values in the world's frame; N may be 0. The degree of `sh`, 0 to 3,
        follows from its K of 1, 4, 9 or 16.
      camera: OpenCV cameras with leading axes *B (none, or any), one image size.
      background: [3], or [*B, 3] colours behind the Gaussians.
      capacity: how many intersections of a Gaussian with a tile (8x8 pixels; Pallas: 16x16 on a GPU,
        32x32 on a TPU) each camera has room for; static. What suffices for small tiles suffices for
        large ones. None takes `default_capacity`. See `suggest_capacity`.
      implementation: "xla" runs anywhere; "pallas" on NVIDIA GPUs of compute capability 9.0 or newer and
        on TPUs, and, interpreted and slow, on a CPU; "auto" takes Pallas where the default device
        compiles it, and logs its choice.
      screen_offset: [*B, N, 2] pixels, added to the projected means. Zeros, whose gradient is the
        screen-space gradient that density control needs.
      antialiased: scales opacity by sqrt(det before / det after the 0.3 px^2 blur), as Mip-Splatting.
      near: metres; what lies nearer is not drawn.

    Returns:
      Render: rgb [*B, H, W, 3], alpha and depth [*B, H, W] (depth accumulated: the sum of weight times
      camera z; divide by alpha for the expected one), radii [*B, N] (three standard deviations of the
      longer axis in pixels, 0 where no pixel can be touched; no gradient) and overflow [*B] int32: how
      many intersections did not fit the capacity. Those are the farthest ones, and the picture lacks
      them wherever overflow is not 0.

    Raises: ValueError where shapes or options do not fit.
    Source: Kerbl et al. 2023, with gsplat's constants: alpha is at most 0.99, below 1/255 it is skipped,
    and the Gaussian that would bring the transmittance to 1e-4 or less ends the pixel.
    """
    grid = Grid(camera.height, camera.width, tile_size(implementation))
    batch = _check(gaussians, camera)
    gaussians, camera = jax.tree.map(jnp.asarray, (gaussians, camera))
    size = gaussians.means.shape[0]
    if capacity is None:
        capacity = default_capacity(size, camera.height, camera.width)
    if not isinstance(capacity, int | np.integer) or capacity < 1:
        raise ValueError(f"capacity must be a positive Python integer (it is static); got {capacity!r}.")
    background = jnp.asarray(background, gaussians.means.dtype)
    if background.shape not in ((3,), (*batch, 3)):
        raise ValueError(f"background must be [3] or {[*batch, 3]}; got {list(background.shape)}.")
    if screen_offset is not None and screen_offset.shape != (*batch, size, 2):
        raise ValueError(f"screen_offset must be {[*batch, size, 2]}; got {list(screen_offset.shape)}.")
    if size == 0:
        return _empty(camera, background, batch)
    options = {"capacity": int(capacity), "antialiased": antialiased, "near": near}
    options |= {"grid": grid, "implementation": implementation}
    function = functools.partial(_render_one, gaussians, **options)
    for _ in batch:
        function = jax.vmap(function)
    offset = jnp.zeros((*batch, size, 2), gaussians.means.dtype) if screen_offset is None else screen_offset
    sums, radii, overflow = function(camera, offset)
    alpha = sums[..., 4, :, :]
    rgb = jnp.moveaxis(sums[..., :3, :, :], -3, -1)
    rgb = rgb + (1 - alpha)[..., None] * background[..., None, None, :]
    return Render(rgb, alpha, sums[..., 3, :, :], radii, overflow)


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
) -> jax.Array:
    """The capacity that `render` needs to draw everything, [*B] int32. Exact and jittable.

    Arguments are those of `render`. Counts pairs of a Gaussian and a tile within the box in which its alpha
    reaches 1/255; saturates at 2^31 - 1. The 8x8 tiles of "xla", the default, need the most: what suffices
    for them suffices for every implementation.
    """
    grid = Grid(camera.height, camera.width, tile_size(implementation))
    batch = _check(gaussians, camera)
    gaussians, camera = jax.tree.map(jnp.asarray, (gaussians, camera))
    if gaussians.means.shape[0] == 0:
        return jnp.zeros(batch, jnp.int32)

    def one(camera: Camera) -> jax.Array:
        return count(boxes(*project(gaussians, camera, near=near, antialiased=antialiased), grid), grid)

    for _ in batch:
        one = jax.vmap(one)
    return one(camera)


_count = jax.jit(count_intersections, static_argnames=("implementation", "antialiased", "near"))


def suggest_capacity(
    gaussians: Gaussians,
    camera: Camera,
    *,
    implementation: str = "xla",
    antialiased: bool = False,
    near: float = NEAR,
    margin: float = 1.25,
) -> int:
    """A capacity with room for `margin` times what these cameras need: a power of two, at least 4096.

    For the host's loop, as it reads the count back from the device: not inside jit. Powers of two keep
    the number of compilations small while the scene grows.
    """
    needed = _count(gaussians, camera, implementation=implementation, antialiased=antialiased, near=near)
    return max(4096, 1 << math.ceil(math.log2(max(1.0, margin * int(needed.max(initial=1))))))


def _check(gaussians: Gaussians, camera: Camera) -> tuple[int, ...]:
    """Checks shapes; returns the camera's leading axes."""
    size = gaussians.means.shape[0]
    wanted = {"means": (size, 3), "log_scales": (size, 3), "quats": (size, 4), "opacity_logits": (size,)}
    for name, shape in wanted.items():
        given = getattr(gaussians, name).shape
        if given != shape:
            raise ValueError(f"gaussians.{name} must be {list(shape)}; got {list(given)}.")
    sh = gaussians.sh.shape
    if len(sh) != 3 or sh[0] != size or sh[1] not in COEFFICIENTS or sh[2] != 3:
        raise ValueError(f"gaussians.sh must be [{size}, K, 3] with K in {COEFFICIENTS}; got {list(sh)}.")
    batch = camera.world_to_camera.shape[:-2]
    shapes = (camera.world_to_camera.shape, camera.focal.shape, camera.center.shape)
    if shapes != ((*batch, 4, 4), (*batch, 2), (*batch, 2)):
        raise ValueError(f"camera must hold [*B, 4, 4], [*B, 2] and [*B, 2] with one *B; got {shapes}.")
    return batch


def _render_one(
    gaussians: Gaussians,
    camera: Camera,
    offset: jax.Array,
    *,
    capacity: int,
    antialiased: bool,
    near: float,
    grid: Grid,
    implementation: str,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One camera: [blend_xla.CHANNELS, H, W] sums, radii [N] and overflow []."""
    splats, extent = project(gaussians, camera, offset, near=near, antialiased=antialiased)
    # Which tile a Gaussian is on is not differentiable; say so, or its sorts would be traced twice.
    fixed = jax.tree.map(jax.lax.stop_gradient, splats)
    box = boxes(fixed, extent, grid)
    lists, overflow = tile_lists(fixed, box, grid, capacity)
    sums = composite(jnp.stack(splats, 1), lists, jnp.asarray(grid.origins()), implementation)
    tile = grid.tile
    image = sums.reshape(grid.rows, grid.columns, -1, tile, tile).transpose(2, 0, 3, 1, 4)
    image = image.reshape(-1, grid.rows * tile, grid.columns * tile)
    radii = jnp.where(box.visible, extent.radius, 0.0)
    return image[:, : grid.height, : grid.width], radii, overflow


def _empty(camera: Camera, background: jax.Array, batch: tuple[int, ...]) -> Render:
    shape = (*batch, camera.height, camera.width)
    zero = jnp.zeros(shape, background.dtype)
    rgb = jnp.broadcast_to(background[..., None, None, :], (*shape, 3))
    return Render(rgb, zero, zero, jnp.zeros((*batch, 0), background.dtype), jnp.zeros(batch, jnp.int32))
