"""One sample of the dataset: rendered, given its condition images, and refreshed by the diffusion.

The renderer and the diffusion arrive as arguments, so that any rasterizer and any portrait video
diffusion fit. A renderer is `renderer(gaussians, camera, background=[3]) -> Render`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from zero1a_jax.avatar import pose
from zero1a_jax.config import Refresh
from zero1a_jax.flame import forward, landmarks_drawn, pncc, pupils
from zero1a_jax.geometry import project, resize
from zero1a_jax.image import landmarks
from zero1a_jax.symgen.dataset import ACCEPTED, BLANK, NOT_FINITE
from zero1a_jax.symgen.protocol import Diffusion
from zero1a_jax.types import Array, Avatar, Camera, FlameModel, FlameParams, Render

Renderer = Callable[..., Render]
KINDS = ("landmarks", "emoji", "dense")


def condition_points(
    model: FlameModel, params: FlameParams, camera: Camera, *, size: int, kind: str = "landmarks"
) -> Array:
    """The mesh's own drawn landmarks in pixels of a condition image, [*B, P, 2]; see `condition_images`."""
    small = resize(camera, size, size)
    vertices, _ = forward(model, params)
    points = landmarks_drawn(model, vertices, params, camera=small)
    if kind == "emoji":
        points = jnp.concatenate([points, pupils(model, vertices)], -2)
    return project(small, points)[0]


def condition_images(
    model: FlameModel,
    params: FlameParams,
    camera: Camera,
    *,
    size: int,
    kind: str,
    points: Array | None = None,
) -> Array:
    """What tells the diffusion the pose and expression: images [*B, size, size, 3] in 0..1.

    Args:
      model: the head.
      params: [*B].
      camera: [*B], any image size; the same view is drawn at `size`.
      size: pixels; 8 times the latent side for AniPortrait's pose guider.
      kind: "landmarks": AniPortrait's landmark image of the mesh's own points; "emoji":
        Follow-Your-Emoji's; "dense": the mesh coloured by its template's coordinates (PNCC), with
        AniPortrait's lines on top.
      points: [*B, P, 2] pixels of the condition image to draw instead of the mesh's own, such as
        detected ones, in the order of image.landmarks.points_of(kind).

    Raises:
      ValueError: another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"condition kind is {kind!r}; choose from {', '.join(KINDS)}")
    if points is None:
        points = condition_points(model, params, camera, size=size, kind=kind)
    lines = landmarks.draw(points, size, size, style=landmarks.style_of(kind))
    if kind != "dense":
        return lines
    vertices, _ = forward(model, params)
    surface = pncc(model, vertices, resize(camera, size, size))
    return jnp.where(jnp.max(lines, -1, keepdims=True) > 0, lines, surface)


def render_sample(
    renderer: Renderer,
    avatar: Avatar,
    model: FlameModel,
    flame: FlameParams,
    camera: Camera,
    *,
    background: Array,
) -> tuple[Array, Array, Array]:
    """The avatar along a sample's sequence.

    Args:
      renderer: see the module.
      avatar: the avatar.
      model: its head.
      flame: [T]. camera: [T]. background: [3] in 0..1.

    Returns:
      rgb [T, H, W, 3], alpha [T, H, W], overflow [] (the largest over the frames).
    """

    def frame(item: tuple[FlameParams, Camera]) -> tuple[Array, Array, Array]:
        image = renderer(pose(avatar, model, item[0]), item[1], background=background)
        return image.rgb, image.alpha, image.overflow

    rgb, alpha, overflow = jax.lax.map(frame, (flame, camera))
    return rgb, alpha, jnp.max(overflow)


def refresh(
    diffusion: Diffusion,
    params: Any,
    reference: Any,
    rgb: Array,
    alpha: Array,
    conditions: Array,
    *,
    key: jax.Array,
    background: Array,
    config: Refresh,
    from_noise: bool = False,
) -> tuple[Array, Array, Array]:
    """New pseudo ground truth for one sample (Fig. 3 of the paper): encode, invert, denoise, decode.

    Args:
      diffusion, params: the video diffusion and its weights.
      reference: what `diffusion.reference` made of the portrait.
      rgb: [T, H, W, 3] in 0..1, the avatar's frames over `background`.
      alpha: [T, H, W], the avatar's alpha.
      conditions: [T, S, S, 3] in 0..1.
      key: noise, where the start is noise.
      background: [3].
      config: steps, strength, guidance; without `inversion` every refresh starts from noise. Inverting and
        denoising with the same guidance returns the input: what a refresh changes is their difference.
      from_noise: static; the first fill, before the avatar is worth inverting.

    Returns:
      rgb [T, H, W, 3] and alpha [T, H, W] in 0..1, and the reject reason [] int32.
    """
    latents = diffusion.encode(params, rgb)
    if from_noise or not config.inversion:
        start, strength = jax.random.normal(key, latents.shape, latents.dtype), 1.0
        guidance = config.noise_guidance
    else:
        strength, guidance = config.strength, config.guidance
        start = diffusion.invert(
            params,
            latents,
            reference,
            conditions,
            steps=config.inversion_steps,
            strength=strength,
            iterations=config.inversion_iterations,
            guidance=config.inversion_guidance,
        )
    latents = diffusion.denoise(
        params,
        start,
        reference,
        conditions,
        steps=config.denoise_steps,
        strength=strength,
        guidance=guidance,
    )
    frames = diffusion.decode(params, latents)
    reason = check(frames)
    return frames, clean_matte(alpha, frames, background), reason


def check(frames: Array) -> Array:
    """Reject reason [] int32 of generated frames [T, H, W, 3]: not finite, blank, or accepted."""
    finite = jnp.all(jnp.isfinite(frames))
    contrast = jnp.max(frames, (1, 2)) - jnp.min(frames, (1, 2))  # [T, 3]
    blank = jnp.any(jnp.max(contrast, -1) < 0.1)
    return jnp.where(finite, jnp.where(blank, BLANK, ACCEPTED), NOT_FINITE).astype(jnp.int32)


def clean_matte(alpha: Array, frames: Array, background: Array, *, reach: float = 1 / 24) -> Array:
    """The matte [T, H, W] of generated frames, which come without one.

    Well inside the avatar's silhouette a pixel is foreground, whatever its colour (teeth and the whites of
    the eyes may equal the background); well outside it is background. In the band between, `reach` times
    the image side to both sides of the edge, the generated frame decides: what differs from the background
    is foreground, so that hair may grow beyond the avatar and a too large avatar shrinks.

    Args:
      alpha: [T, H, W], the avatar's alpha. frames: [T, H, W, 3]. background: [3].
      reach: half the band's width over the image side [D].
    """
    radius = max(1, round(reach * alpha.shape[-1]))
    difference = jnp.max(jnp.abs(frames - background), -1)
    evidence = jnp.clip((difference - 0.04) / 0.08, 0.0, 1.0)
    inside = -_spread(-alpha, radius)
    outside = _spread(alpha, radius)
    return jnp.clip(jnp.maximum(inside, jnp.minimum(evidence, outside)), 0.0, 1.0)


def _spread(image: Array, radius: int) -> Array:
    """Maximum over squares of side 2 radius + 1, in two passes; [T, H, W]."""
    side = 2 * radius + 1
    for window in ((1, side, 1), (1, 1, side)):
        image = jax.lax.reduce_window(image, -jnp.inf, jax.lax.max, window, (1, 1, 1), "SAME")
    return image
