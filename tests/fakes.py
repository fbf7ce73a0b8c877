"""A run that costs seconds: a sphere for a head, 32 x 32 frames, a diffusion of a few additions.

As a program it starts or resumes a run: python fakes.py WORKDIR [STEPS] [name=value ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.config import Config, from_values, options
from zero1a_jax.devices import everyone
from zero1a_jax.flame import frame_target, zero_params
from zero1a_jax.geometry import portrait_camera, project
from zero1a_jax.image import losses
from zero1a_jax.image.landmarks import DRAWN_FEATURES
from zero1a_jax.symgen.sequences import BASE_EXPRESSIONS
from zero1a_jax.training import processes, run, workdir
from zero1a_jax.training.setup import Parts
from zero1a_jax.types import FlameModel, Portrait, Render

SIZE = 32
NAMES = tuple(dict.fromkeys(name for group in BASE_EXPRESSIONS for name in group))
SMALL = dict(
    image="synthetic:0",
    size=SIZE,
    frames=3,
    spatial_samples=3,
    synthetic_samples=2,
    real_samples=2,
    view_interval=4,
    synthetic_start=6,
    real_start=10,
    steps=14,
    batch=3,
    update_every=3,
    samples_per_update=2,
    denoise_steps=2,
    inversion_steps=2,
    density_every=5,
    density_start=5,
    checkpoint_every=4,
    log_every=2,
    image_every=0,
    capacity=1.5,
)


def sphere_head(rings: int = 7, sides: int = 10) -> FlameModel:
    """A sphere of 9 cm with FLAME's joints, ARKit names and landmark embeddings on its front."""
    rng = np.random.default_rng(0)
    polar = np.linspace(0.15, np.pi - 0.15, rings)
    azimuth = np.arange(sides) * 2 * np.pi / sides
    p, a = np.meshgrid(polar, azimuth, indexing="ij")
    points = 0.09 * np.stack([np.sin(p) * np.sin(a), np.cos(p), np.sin(p) * np.cos(a)], -1).reshape(-1, 3)
    faces = []
    for i in range(rings - 1):
        for j in range(sides):
            one, two = i * sides + j, i * sides + (j + 1) % sides
            faces += [(one, one + sides, two), (two, one + sides, two + sides)]
    faces = np.array(faces, np.int32)
    count = len(points)
    joints = np.zeros((5, count), np.float32)
    eyes = [int(np.argmin(np.linalg.norm(points - np.array([x, 0.03, 0.08]), axis=1))) for x in (0.03, -0.03)]
    joints[:3] = 1.0 / count
    joints[3, eyes[0]] = joints[4, eyes[1]] = 1.0
    front = np.flatnonzero(points[faces].mean(1)[:, 2] > 0.03).astype(np.int32)
    ids = (*DRAWN_FEATURES, *[i for i in range(468) if i not in DRAWN_FEATURES][: 105 - len(DRAWN_FEATURES)])
    skinning = np.zeros((count, 5), np.float32)
    skinning[:, 1] = 1.0
    return FlameModel(
        template=points.astype(np.float32),
        shape_basis=rng.normal(0, 1e-3, (count, 3, 4)).astype(np.float32),
        expression_basis=rng.normal(0, 2e-3, (count, 3, len(NAMES))).astype(np.float32),
        pose_basis=np.zeros((count, 3, 36), np.float32),
        joint_regressor=joints,
        skinning=skinning,
        faces=faces,
        landmark_faces=rng.choice(front, 51),
        landmark_barycentrics=np.full((51, 3), 1 / 3, np.float32),
        contour_faces=rng.choice(front, (79, 17)),
        contour_barycentrics=np.full((79, 17, 3), 1 / 3, np.float32),
        mediapipe_faces=rng.choice(front, 105),
        mediapipe_barycentrics=np.full((105, 3), 1 / 3, np.float32),
        mediapipe_indices=np.array(ids, np.int32),
        masks=None,
        uv=None,
        uv_faces=None,
        parents=(-1, 0, 1, 1, 1),
        expression_names=NAMES,
        version="sphere",
    )


def disc_portrait(model: FlameModel) -> Portrait:
    """A shaded disc over white, where the sphere appears."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    target = frame_target(model, jnp.zeros(4))
    camera = jax.tree.map(np.asarray, portrait_camera(target, 0.0, 0.0, SIZE))
    inside = np.hypot(x - SIZE / 2, y - SIZE / 2 - 1) < 0.26 * SIZE
    colour = np.stack([x / SIZE, y / SIZE, 0.4 + 0.2 * np.sin(x)], -1).astype(np.float32)
    return Portrait(
        rgb=np.where(inside[..., None], colour, 1.0).astype(np.float32),
        alpha=inside.astype(np.float32),
        landmarks=np.full((105, 2), SIZE / 2, np.float32),
        camera=camera,
        flame=jax.tree.map(np.asarray, zero_params(model)),
    )


def blob_render(gaussians, camera, *, background, capacity=None, screen_offset=None):
    """Every Gaussian as a round blob, blended without order: smooth, and compiled in a blink.

    `capacity` counts Gaussians that may be visible, so that overflow can be provoked.
    """
    pixels, depth = project(camera, gaussians.means)
    pixels = pixels if screen_offset is None else pixels + screen_offset
    sigma = camera.focal[0] / depth * jnp.exp(gaussians.log_scales.mean(-1)) + 0.4
    y, x = jnp.mgrid[: camera.height, : camera.width] + 0.5
    away = (x[..., None] - pixels[:, 0]) ** 2 + (y[..., None] - pixels[:, 1]) ** 2
    weight = jax.nn.sigmoid(gaussians.opacity_logits) * jnp.exp(-0.5 * away / sigma**2)
    total = weight.sum(-1)
    alpha = 1.0 - jnp.exp(-2.0 * total)
    turn = 1.0 + 0.02 * (gaussians.quats / jnp.linalg.norm(gaussians.quats, axis=-1, keepdims=True))[:, 1:]
    colour = weight @ ((0.5 + 0.282 * gaussians.sh[:, 0]) * turn) / (total[..., None] + 1e-6)
    rgb = colour * alpha[..., None] + background * (1.0 - alpha[..., None])
    visible = (gaussians.opacity_logits > -20) & (depth > 0)
    overflow = jnp.maximum(visible.sum() - (10**6 if capacity is None else capacity), 0)
    return Render(rgb, alpha, alpha * depth.mean(), 3.0 * sigma * visible, overflow.astype(jnp.int32))


def blob_capacity(gaussians, camera, *, margin=1.0):
    return int(margin * len(gaussians.means))


class FakeDiffusion(NamedTuple):
    """Latents are frames at half size; denoising mixes them with the portrait and the conditions."""

    frame_size: int
    condition_size: int
    condition: str
    reference: Any
    encode: Any
    decode: Any
    invert: Any
    denoise: Any


def fake_diffusion() -> FakeDiffusion:
    def halve(frames):
        return frames.reshape(*frames.shape[:-3], SIZE // 2, 2, SIZE // 2, 2, 3).mean((-4, -2))

    def decode(params, latents):
        return jnp.clip(jnp.repeat(jnp.repeat(latents, 2, -3), 2, -2) * params["gain"], 0.0, 1.0)

    def invert(params, latents, reference, conditions, *, steps, strength, iterations, guidance):
        return latents + 0.01 * steps * halve(conditions)

    def denoise(params, latents, reference, conditions, *, steps, strength, guidance):
        return 0.3 * jnp.clip(latents, 0, 1) + 0.7 * reference - 0.01 * halve(conditions)

    return FakeDiffusion(
        frame_size=SIZE,
        condition_size=SIZE,
        condition="landmarks",
        reference=lambda params, rgb, condition: halve(rgb),
        encode=lambda params, frames: halve(frames),
        decode=decode,
        invert=invert,
        denoise=denoise,
    )


def fake_parts(**changes: Any) -> Parts:
    model = sphere_head()
    values = dict(
        model=model,
        portrait=disc_portrait(model),
        diffusion=fake_diffusion(),
        diffusion_params={"gain": jnp.ones(())},
        render=blob_render,
        suggest_capacity=blob_capacity,
        perceptual=losses.dssim_multiscale,
    )
    return Parts(**(values | changes))


def small_config(**changes: Any) -> Config:
    return from_values(SMALL | changes)


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    changes: dict[str, Any] = dict(item.split("=") for item in arguments[1:])
    defaults = {field.name: field.default for field in options()}
    changes = {name: type(defaults[name])(value) for name, value in changes.items()}
    config = small_config(workdir=str(folder), **changes)

    def body() -> int:
        processes.compare(config)
        if processes.leads():
            workdir.create(config, {}, portrait=b"")
        return run.train_run(config, fake_parts(), folder, everyone(), {})

    return processes.together(config.runner, body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
