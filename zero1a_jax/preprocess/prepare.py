"""From any picture of a face to a fitted portrait in the canonical frame."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from PIL import Image

from zero1a_jax import geometry
from zero1a_jax.flame.landmarks import landmarks_mediapipe
from zero1a_jax.flame.model import forward, frame_target
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.image import ops
from zero1a_jax.preprocess.crop import around, compose, invert, recentre, warp
from zero1a_jax.preprocess.detect import Detection, Detector
from zero1a_jax.preprocess.fit import Fit, fit
from zero1a_jax.preprocess.load import load_image
from zero1a_jax.preprocess.matte import background_colour, matte
from zero1a_jax.preprocess.refine import refine
from zero1a_jax.types import FlameModel, Portrait

ndimage: Any = scipy.ndimage  # its own annotations mislead type checkers

FOV = math.radians(20.0)  # geometry.portrait_camera's
WORK = 256  # pixels a side: the crop in which the face is detected again and the matte is made
ROUNDS = 3
REFINED = 2
OPAQUE = 0.95


class Prepared(NamedTuple):
    """A portrait and what led to it, all in the portrait's pixels.

    transform [2, 3] maps the picture's pixels to the portrait's; inside [size, size] says which pixels of
    the portrait the picture covers.
    """

    portrait: Portrait
    fit: Fit
    detection: Detection
    transform: np.ndarray
    inside: np.ndarray


def prepare(
    image: str | os.PathLike | Image.Image | np.ndarray, *, model: FlameModel, detector: Detector,
    size: int = 128, background: str = "white",
) -> Portrait:  # fmt: skip
    """A portrait cropped, matted and fitted: see `prepare_all` for the intermediate results.

    Args:
      image: a path, Pillow image or array, see `load.load_image`.
      model: the head to fit.
      detector: finds the face, see `detect.find_detector`.
      size: side of the portrait in pixels.
      background: "white", "black", "#rrggbb", or "keep" for the picture's own.

    Returns:
      A Portrait of `size` x `size` pixels with the head upright in the canonical frame: the camera has
      the focal length of `geometry.portrait_camera`, looks at the head's frame target from about 1 m,
      has no roll, and carries the whole rigid motion (flame.rotation, neck and translation are 0).

    Raises:
      ValueError: the picture cannot be read or shows no face; one sentence says which.
    """
    return prepare_all(image, model=model, detector=detector, size=size, background=background).portrait


def prepare_all(
    image: str | os.PathLike | Image.Image | np.ndarray, *, model: FlameModel, detector: Detector,
    size: int = 128, background: str = "white", rounds: int = REFINED,
) -> Prepared:  # fmt: skip
    """As `prepare`, with the fit, the detection (in the portrait's pixels) and the crop. `rounds` is
    how often the picture corrects the landmarks' fit (`refine.refine`), matte and crop made anew."""
    if size < 32:
        raise ValueError(f"The portrait's size must be at least 32 pixels, not {size}.")
    colour = background_colour(background)
    picture, own_alpha = load_image(image)
    seen = picture if own_alpha is None else _over_grey(picture, own_alpha)
    transform, detection, fitted = _frame(model, detector, seen)
    for _ in range(rounds):
        alpha, inside = _cut_out(model, fitted, picture, own_alpha, transform)
        rgb, _ = warp(seen, transform, WORK)
        fitted = refine(model, fitted, detection, rgb, alpha, inside)
        transform, detection, fitted = _centred(model, transform, detection, fitted)
    alpha, _ = _cut_out(model, fitted, picture, own_alpha, transform)
    alpha = np.asarray(ops.resize(jnp.asarray(alpha, jnp.float32)[..., None], size, size))[..., 0]

    factor = size / WORK
    detection = detection.moved(np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]]))
    fitted = fitted.replace(
        camera=geometry.resize(fitted.camera, size, size), points=fitted.points * factor
    )
    transform = transform * factor
    rgb, inside = warp(picture, transform, size)
    if colour is not None:
        rgb = rgb if own_alpha is not None else _own_colours(rgb, alpha)
        rgb = np.asarray(ops.composite(rgb, alpha, colour))
    landmarks, _ = detection.lookup(np.asarray(model.mediapipe_indices))
    portrait = Portrait(
        rgb=jnp.asarray(np.clip(rgb, 0.0, 1.0), jnp.float32),
        alpha=jnp.asarray(alpha, jnp.float32),
        landmarks=jnp.asarray(landmarks),
        camera=fitted.camera,
        flame=fitted.flame,
    )
    return Prepared(portrait, fitted, detection, transform, inside > 0.5)


def _frame(
    model: FlameModel, detector: Detector, picture: np.ndarray
) -> tuple[np.ndarray, Detection, Fit]:
    """The crop's transform [2, 3] to WORK pixels a side, and detection and fit in it.

    A fit in a crop tells where the head's frame target is, how far, and its roll; the crop that shows it
    upright, in the middle and 1 m away is found in a few rounds. The face is detected once more in the
    first such crop, where it is larger than in most pictures.
    """
    detection = detector(picture)
    transform = around(detection.points, detection.rotation, WORK)
    camera = geometry.portrait_camera(jnp.zeros(3), jnp.zeros(()), jnp.zeros(()), WORK, fov=FOV)
    for i in range(ROUNDS):
        fitted = fit(model, detection.moved(transform), camera)
        target = np.asarray(frame_target(model, fitted.flame.shape))
        transform = recentre(transform, fitted.camera, target)
        if i == 0:
            detection = _again(detector, picture, transform, detection)
    moved = detection.moved(transform)
    return transform, moved, fit(model, moved, camera)


def _centred(
    model: FlameModel, transform: np.ndarray, detection: Detection, fitted: Fit
) -> tuple[np.ndarray, Detection, Fit]:
    """Crop, detection and fit after the crop is moved so that the fitted head is canonical in it.

    Seen a little aside, a head in the middle of the picture is not quite the same head moved: the fit in
    the new crop is that of the old one but for a fraction of a degree.
    """
    camera = fitted.camera
    target = np.asarray(frame_target(model, fitted.flame.shape))
    new = recentre(transform, camera, target)
    change = compose(new, invert(transform))
    angle = math.atan2(change[1, 0], change[0, 0])
    c, s = math.cos(angle), math.sin(angle)
    matrix = np.array(camera.world_to_camera)
    matrix[:3, :3] = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ matrix[:3, :3]
    matrix[:3, 3] = np.array([0.0, 0.0, 1.0]) - matrix[:3, :3] @ target
    camera = camera.replace(world_to_camera=jnp.asarray(matrix, jnp.float32))
    marks = landmarks_mediapipe(model, forward(model, fitted.flame)[0])
    points, _ = geometry.project(camera, marks)
    moved = detection.moved(compose(new, invert(transform)))
    return new, moved, fitted.replace(camera=camera, points=points)


def _cut_out(
    model: FlameModel, fitted: Fit, picture: np.ndarray, own: np.ndarray | None, transform: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The person's alpha [WORK, WORK] in the crop, the picture's own or a matte, and which pixels of the
    crop the picture covers."""
    if own is None:
        rgb, inside = warp(picture, transform, WORK)
        return matte(rgb, silhouette(model, fitted), inside > 0.5), inside > 0.5
    eight_bits = np.round(own * 255.0).astype(np.uint8)[..., None]
    alpha, inside = warp(eight_bits, transform, WORK)
    return alpha[..., 0] * inside, inside > 0.5


def _again(detector: Detector, picture: np.ndarray, transform: np.ndarray, first: Detection) -> Detection:
    """The detection repeated in a crop; the first one where the crop shows no face, or another's."""
    rgb, _ = warp(picture, transform, WORK)
    try:
        second = detector(np.round(rgb * 255.0).astype(np.uint8))
    except ValueError:
        return first
    second = second.moved(invert(transform))
    points, known = second.lookup(first.ids)
    away = np.linalg.norm(points - first.points, axis=-1)[known].mean()
    if away > 0.15 * np.ptp(first.points, axis=0).max():
        return first
    return second


def silhouette(model: FlameModel, fitted: Fit) -> np.ndarray:
    """Pixels [H, W] bool that the fitted head covers in its camera's image."""
    return covered(model, fitted)[0] >= 0


def covered(model: FlameModel, fitted: Fit) -> tuple[np.ndarray, np.ndarray]:
    """The fitted head's face id [H, W] (-1 where it is not) and barycentrics [H, W, 3] at each pixel."""
    vertices, _ = forward(model, fitted.flame)
    camera = fitted.camera
    pixels, depth = geometry.project(camera, vertices)
    face_id, weights, _ = _zbuffer(pixels, depth, jnp.asarray(model.faces), camera.height, camera.width)
    return np.asarray(face_id), np.asarray(weights)


_zbuffer = jax.jit(zbuffer, static_argnums=(3, 4))


def _over_grey(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    mixed = picture * alpha[..., None] + 128.0 * (1.0 - alpha[..., None])
    return np.round(mixed).astype(np.uint8)


def _own_colours(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours without the old background: pixels at soft edges take those of the nearest opaque one."""
    solid = alpha > OPAQUE
    if not solid.any():
        return rgb
    _, (rows, cols) = ndimage.distance_transform_edt(~solid, return_indices=True)
    return np.where(solid[..., None], rgb, rgb[rows, cols])
