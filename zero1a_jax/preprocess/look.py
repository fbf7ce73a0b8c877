"""Pictures of a prepared portrait, to judge it by eye."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from zero1a_jax import geometry
from zero1a_jax.flame.model import forward
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.preprocess.fit import Fit
from zero1a_jax.preprocess.prepare import Prepared, covered
from zero1a_jax.types import FlameModel

LIGHT = np.array([0.3, 0.4, 0.87])
RIM = np.array([1.0, 0.9, 0.1])
CLAY = np.array([0.9, 0.8, 0.75])


def pictures(model: FlameModel, prepared: Prepared) -> dict[str, np.ndarray]:
    """Pictures [size, size, 3] uint8: portrait, matte, landmarks (detected green, fitted red, the
    fitted head's rim yellow) and the
    fitted head over the portrait."""
    rgb = np.asarray(prepared.portrait.rgb)
    alpha = np.repeat(np.asarray(prepared.portrait.alpha)[..., None], 3, -1)
    clay, cover = shaded(model, prepared.fit)
    overlay = np.where(cover[..., None], 0.65 * clay + 0.35 * rgb, rgb)
    inner = np.all([np.roll(cover, step, axis) for step in (1, -1) for axis in (0, 1)], 0)
    marked = Image.fromarray(as_uint8(np.where((cover & ~inner)[..., None], RIM, rgb)))
    pen = ImageDraw.Draw(marked)
    radius = max(0.6, rgb.shape[1] / 340)
    groups = (np.asarray(prepared.fit.points), (230, 30, 30)), (prepared.detection.points, (0, 220, 60))
    for points, colour in groups:
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        radius *= 0.6
    return {
        "portrait": as_uint8(rgb),
        "matte": as_uint8(alpha),
        "landmarks": np.asarray(marked),
        "overlay": as_uint8(overlay),
    }


def shaded(model: FlameModel, fitted: Fit) -> tuple[np.ndarray, np.ndarray]:
    """The fitted head as clay [H, W, 3] in 0..1 in its camera's image, and where it is [H, W]."""
    vertices, _ = forward(model, fitted.flame)
    faces = jnp.asarray(model.faces)
    face_id, weights = covered(model, fitted)
    normals = np.asarray(geometry.vertex_normals(vertices, faces))[np.asarray(faces)[face_id]]
    light = np.asarray(fitted.camera.world_to_camera)[:3, :3].T @ (LIGHT * (1.0, -1.0, -1.0))
    shade = 0.25 + 0.75 * np.clip((normals * weights[..., None]).sum(-2) @ light, 0.0, 1.0)
    return shade[..., None] * CLAY, face_id >= 0
