"""Adaptive density control at a fixed capacity: clone, split, prune, without changing a shape.

Rules of 3D Gaussian splatting (Kerbl et al. 2023, section 5.2) with GaussianAvatars' bindings
(arXiv 2312.02069, section 3.3): children inherit the parent's triangle, and no triangle loses its
last Gaussian. Two departures, both known slips of the published code: split offsets are drawn in the
triangle's own units (there: the world scale, too small by the factor k), and the rule on screen size
sees the radii gathered since the last control (there: always zero).
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from zero1a_jax.config import Density
from zero1a_jax.flame.model import shaped_template
from zero1a_jax.geometry.meshes import triangle_frames
from zero1a_jax.geometry.rotations import quat_rotate
from zero1a_jax.types import Array, Avatar, FlameModel, Gaussians

_SHRINK = 1.6  # children of a split are this much smaller


@struct.dataclass
class Statistics:
    """What density control needs to know since its last call; `types.State` has the same fields."""

    gradient_sum: Array  # [N] screen-space gradient norms
    seen: Array  # [N] how many frames saw the Gaussian
    largest_radius: Array  # [N] pixels


S = TypeVar("S", bound=Any)  # Statistics or State


def zero_statistics(capacity: int) -> Statistics:
    """Statistics before any frame, for `capacity` slots."""
    return Statistics(jnp.zeros(capacity), jnp.zeros(capacity), jnp.zeros(capacity))


def accumulate(
    statistics: S,
    screen_gradient: Array,
    radii: Array,
    *,
    height: int,
    width: int,
    axis_name: str | None = None,
) -> S:
    """Adds frames to the statistics (a `Statistics` or a `State`).

    `screen_gradient` [*B, N, 2] is each frame's own gradient by pixel position (multiply it by the
    number of frames where the loss is their mean); it is turned to NDC, so that thresholds do not
    depend on the image size. `radii` [*B, N] in pixels. With `axis_name` the frames of all devices
    are added.
    """
    half = 0.5 * jnp.array([width, height], screen_gradient.dtype)
    norm = jnp.sqrt(jnp.sum((screen_gradient * half) ** 2, -1)).reshape(-1, radii.shape[-1])
    radii = radii.reshape(-1, radii.shape[-1])
    visible = radii > 0
    total = jnp.sum(jnp.where(visible, norm, 0.0), 0)
    seen = jnp.sum(visible, 0).astype(statistics.seen.dtype)
    largest = jnp.max(radii, 0)
    if axis_name is not None:
        total, seen = jax.lax.psum((total, seen), axis_name)
        largest = jax.lax.pmax(largest, axis_name)
    return statistics.replace(
        gradient_sum=statistics.gradient_sum + total,
        seen=statistics.seen + seen,
        largest_radius=jnp.maximum(statistics.largest_radius, largest),
    )


def mean_gradient(statistics: Any) -> Array:
    """Mean screen gradient [N] over the frames that saw each Gaussian, 0 for the unseen."""
    seen = statistics.seen
    return jnp.where(seen > 0, statistics.gradient_sum / jnp.maximum(seen, 1), 0.0)


def world_scale(avatar: Avatar, face_scale: Array) -> Array:
    """The largest standard deviation [N] of each Gaussian in metres, for triangle scales [F]."""
    return jnp.exp(jnp.max(avatar.gaussians.log_scales, -1)) * face_scale[avatar.face_ids]


def select(avatar: Avatar, face_scale: Array, gradient: Array, config: Density) -> tuple[Array, Array]:
    """Which Gaussians [N] should be cloned and which split, by their mean gradient [N]."""
    wanted = avatar.alive & (gradient >= config.density_gradient)
    large = world_scale(avatar, face_scale) > config.density_split_scale
    return wanted & ~large, wanted & large


def protect(doomed: Array, alive: Array, face_ids: Array, faces: int) -> Array:
    """Which of the `doomed` [N] may really go: none of a triangle whose living ones would all go."""
    living = jnp.zeros(faces, jnp.int32).at[face_ids].add(alive.astype(jnp.int32))
    dying = jnp.zeros(faces, jnp.int32).at[face_ids].add((alive & doomed).astype(jnp.int32))
    return alive & doomed & (dying < living)[face_ids]


def _largest(values: Array, eligible: Array, count: Array) -> Array:
    """The `count` (traced) largest eligible values as a mask [N]; ties go to the lower index."""
    order = jnp.argsort(jnp.where(eligible, -values, jnp.inf), stable=True)
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order), dtype=order.dtype))
    return eligible & (rank < count)


def _children(gaussians: Gaussians, split: Array, normals: Array) -> Gaussians:
    """Where `split` [N], the Gaussian becomes a child: moved by a draw from itself and shrunk."""
    offset = quat_rotate(gaussians.quats, jnp.exp(gaussians.log_scales) * normals)
    split = split[:, None]
    return gaussians.replace(
        means=gaussians.means + jnp.where(split, offset, 0.0),
        log_scales=gaussians.log_scales - jnp.where(split, jnp.log(_SHRINK), 0.0),
    )


def densify(
    avatar: Avatar, statistics: Any, face_scale: Array, normals: Array, config: Density
) -> tuple[Avatar, Array]:
    """One round of density control for triangle scales [F] in metres and standard normals [2, N, 3].

    `normals[c, i]` draws child c of Gaussian i. Returns the avatar and `fresh` [N]: slots that hold a
    new Gaussian or none any more, whose optimiser moments must be zeroed (`reset_moments`).
    """
    capacity, index = len(avatar.alive), jnp.arange(len(avatar.alive))
    gradient = mean_gradient(statistics)
    clone, split = select(avatar, face_scale, gradient, config)
    grow = clone | split

    doomed = jax.nn.sigmoid(avatar.gaussians.opacity_logits) < config.density_opacity
    if config.density_max_scale:
        scale = world_scale(avatar, face_scale) / jnp.where(split, _SHRINK, 1.0)
        doomed |= scale > config.density_max_scale
    if config.density_max_radius:
        doomed |= ~grow & (statistics.largest_radius > config.density_max_radius)
    # Both Gaussians of a pair share their fate (same opacity, scale and triangle), so that the
    # rule can be applied before anything is copied, and pruned slots are free at once.
    pruned = protect(doomed, avatar.alive, avatar.face_ids, len(face_scale))
    kept = avatar.alive & ~pruned
    grow = _largest(gradient, grow & kept, capacity - jnp.sum(kept))

    free = jnp.argsort(kept, stable=True)  # free slots first, by index
    slot = jnp.where(grow, free[jnp.cumsum(grow) - 1], capacity)
    source = index.at[slot].set(index, mode="drop")
    new = jnp.zeros(capacity, bool).at[slot].set(True, mode="drop")

    gaussians = jax.tree.map(lambda leaf: leaf[source], avatar.gaussians)
    is_child = (grow & split)[source] & (kept | new)
    drawn = jnp.where(new[:, None], normals[1][source], normals[0])
    grown = avatar.replace(
        gaussians=_children(gaussians, is_child, drawn),
        face_ids=avatar.face_ids[source],
        alive=kept | new,
    )
    return grown, new | is_child | ~grown.alive


def density_control(
    key: Array, avatar: Avatar, model: FlameModel, statistics: Any, config: Density
) -> tuple[Avatar, Array]:
    """Clone, split and prune by the statistics (`Statistics` or `State`) since the last control.

    Scales are measured on the avatar's head at rest. Deterministic in `key`; all shapes stay. When
    more Gaussians want to grow than slots are free, the largest gradients win, ties by index, and the
    others stay as they are. Returns the avatar and `fresh` [N], the slots whose optimiser moments
    must be zeroed. The caller starts new statistics.
    """
    _, _, face_scale = triangle_frames(shaped_template(model, avatar.shape), jnp.asarray(model.faces))
    normals = jax.random.normal(key, (2, len(avatar.alive), 3))
    return densify(avatar, statistics, face_scale, normals, config)


def reset_moments(optimizer_state: Any, fresh: Array) -> Any:
    """Zeroes the rows `fresh` [N] of every leaf whose leading axis is N; others (counters) stay."""

    def reset(leaf: Any) -> Any:
        if jnp.ndim(leaf) == 0 or leaf.shape[0] != len(fresh):
            return leaf
        return jnp.where(fresh.reshape(-1, *[1] * (leaf.ndim - 1)), jnp.zeros_like(leaf), leaf)

    return jax.tree.map(reset, optimizer_state)
