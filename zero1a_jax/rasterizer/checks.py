"""What the public functions check of their arguments before anything is traced."""

from __future__ import annotations

import jax

from zero1a_jax.rasterizer.harmonics import COEFFICIENTS
from zero1a_jax.types import Camera, Gaussians


def scene(gaussians: Gaussians, camera: Camera) -> tuple[int, ...]:
    """Checks the shapes of a scene; returns the camera's leading axes *B."""
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
    if camera.whole is not None and camera.whole.shape != (*batch, 4):
        raise ValueError(f"camera.whole must be {[*batch, 4]} or None; got {list(camera.whole.shape)}.")
    return batch


def inputs(
    size: int,
    batch: tuple[int, ...],
    background: jax.Array,
    features: jax.Array | None,
    screen_offset: jax.Array | None,
) -> None:
    """Checks the shapes of what `render` takes besides a scene of `size` Gaussians and *B cameras."""
    if background.shape not in ((3,), (*batch, 3)):
        raise ValueError(f"background must be [3] or {[*batch, 3]}; got {list(background.shape)}.")
    if features is not None and features.shape[:-1] not in ((size,), (*batch, size)):
        shapes = f"[{size}, D] or {[*batch, size]} and D"
        raise ValueError(f"features must be {shapes}; got {list(features.shape)}.")
    if screen_offset is not None and screen_offset.shape != (*batch, size, 2):
        raise ValueError(f"screen_offset must be {[*batch, size, 2]}; got {list(screen_offset.shape)}.")
