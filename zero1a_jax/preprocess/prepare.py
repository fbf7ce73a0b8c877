"""From any picture of a face to a fitted portrait in the canonical frame."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from PIL import Image

from zero1a_jax import geometry
from zero1a_jax.errors import NoFace, Refused
from zero1a_jax.flame.landmarks import landmarks_mediapipe
from zero1a_jax.flame.model import forward, frame_target
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.image import ops
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.preprocess import confidence, given
from zero1a_jax.preprocess.crop import around, chain, invert, recentre, warp
from zero1a_jax.preprocess.detect import NO_FACE, Detection, Detector
from zero1a_jax.preprocess.fit import Fit, fit
from zero1a_jax.preprocess.matte import background_colour, find_person, shown
from zero1a_jax.preprocess.refine import refine
from zero1a_jax.preprocess.segment import Segmenter
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams, Portrait

ndimage: Any = scipy.ndimage  # its own annotations mislead type checkers

FOV = math.radians(20.0)  # geometry.portrait_camera's
WORK = 256  # pixels a side: the crop in which the face is detected again and the matte is made
ROUNDS = 3
REFINED = 2
OPAQUE = 0.95
CONTINUED = 0.06  # of the portrait's side


class Prepared(NamedTuple):
    """A portrait and what led to it, all in the portrait's pixels.

    picture [size, size, 3] and matte [size, size] are the uint8 crop with its own background and the person
    in it: with `compose` they give the portrait's colours. transform [2, 3] maps the picture's pixels to the
    portrait's; inside [size, size] says which pixels of the portrait the picture covers. notes are
    sentences that the user should read.
    """

    portrait: Portrait
    fit: Fit
    detection: Detection
    transform: np.ndarray
    inside: np.ndarray
    picture: np.ndarray
    matte: np.ndarray
    notes: tuple[str, ...] = ()


def prepare(
    image: str | os.PathLike | Image.Image | np.ndarray,
    *,
    model: FlameModel,
    detector: Detector,
    size: int = 128,
    background: str = "white",
    mask: str | os.PathLike | None = None,
    segmenter: Segmenter | None = None,
    face_index: int = 0,
    accept_unsure: bool = True,
) -> Portrait:
    """A portrait cropped, matted and fitted: see `prepare_all` for the intermediate results.

    Args:
      image: a path, Pillow image or array, see `load.load_image`.
      model: the head to fit.
      detector: finds the face, see `detect.find_detector`.
      size: side of the portrait in pixels.
      background: "white", "black", "#rrggbb", or "keep" for the picture's own.
      mask: a picture of the same size, white where the person is; goes before the picture's own alpha.
      segmenter: finds the person where neither is given, see `segment.find_segmenter`; without it the
        fitted head and the colours tell.
      face_index: which face, 0 the largest.
      accept_unsure: False: a fit that is most likely wrong is refused.

    Returns:
      A Portrait of `size` x `size` pixels with the head upright in the canonical frame: the camera has
      the focal length of `geometry.portrait_camera`, looks at the head's frame target from about 1 m,
      has no roll, and carries the whole rigid motion (flame.rotation, neck and translation are 0).

    Raises:
      Refused: the picture or the mask cannot be read, or it shows no face; one sentence says which.
    """
    return prepare_all(
        image,
        model=model,
        detector=detector,
        size=size,
        background=background,
        mask=mask,
        segmenter=segmenter,
        face_index=face_index,
        accept_unsure=accept_unsure,
    ).portrait


def prepare_all(
    image: str | os.PathLike | Image.Image | np.ndarray,
    *,
    model: FlameModel,
    detector: Detector,
    size: int = 128,
    background: str = "white",
    mask: str | os.PathLike | None = None,
    segmenter: Segmenter | None = None,
    face_index: int = 0,
    accept_unsure: bool = True,
    rounds: int = REFINED,
) -> Prepared:
    """As `prepare`, with the fit, the detection (in the portrait's pixels), the crop and its matte.

    `rounds` is how often the picture corrects the landmarks' fit (`refine.refine`), matte and crop made anew.
    A picture that shows no face, or whose fit is not usable, is tried in quarter turns.
    """
    if size < 32:
        raise Refused(f"The portrait's size must be at least 32 pixels, not {size}.")
    background_colour(background)
    picture, known, notes = given.picture_and_matte(image, mask, detector)

    def attempt(turns: int) -> _Found:
        turned = np.ascontiguousarray(np.rot90(picture, turns))
        matte = None if known is None else np.ascontiguousarray(np.rot90(known, turns))
        return _find(model, detector, turned, matte, segmenter, face_index=face_index, rounds=rounds)

    of = "own transparency" if mask is None else "mask"
    try:
        (picture, known, transform, detection, fitted), turned = _upright(attempt)
    except NoFace as error:
        if known is None:
            raise
        raise NoFace(
            f"No face was found in what the picture's {of} shows: it must be white (opaque) where the "
            "person is, and the face upright, unhidden and large enough."
        ) from error
    notes += turned + several_faces(detection, face_index)
    if fitted.confidence < confidence.HOPELESS and not accept_unsure:
        raise Refused(
            f"The fit is most likely wrong, its landmarks {float(fitted.expected):.0%} of the eye distance "
            "off: use another picture, or go on with --accept_unsure (accept_unsure=True)."
        )
    alpha, _, more = _cut_out(model, fitted, picture, known, transform, segmenter)
    notes += more + _doubts(fitted)
    alpha = np.asarray(ops.resize(jnp.asarray(alpha, jnp.float32)[..., None], size, size))[..., 0]
    factor = size / WORK
    detection = detection.moved(np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]]))
    fitted = fitted.replace(camera=geometry.resize(fitted.camera, size, size), points=fitted.points * factor)
    transform = transform * factor
    rgb, inside = warp(picture, transform, size)
    if known is not None:
        covers, _ = warp(as_uint8(known)[..., None], transform, size)
        alpha = covers[..., 0] * inside
        if shown(alpha, silhouette(model, fitted)) < 0.5:
            raise Refused(f"The picture's {of} hides most of the face: it must be opaque there.")

    alpha = _continued(alpha, inside)
    rgb, alpha = as_uint8(rgb), as_uint8(alpha)
    landmarks, _ = detection.lookup(np.asarray(model.mediapipe_indices))
    portrait = compose(rgb, alpha, jnp.asarray(landmarks), fitted.camera, fitted.flame, background=background)
    return Prepared(portrait, fitted, detection, transform, inside > 0.5, rgb, alpha, notes)


def _continued(alpha: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Alpha [size, size] that goes on for a little beyond the picture's edge, as the colours do.

    A person whom the picture cuts off does not end there, and an avatar that learned so has a frayed edge.
    `inside` [size, size] is the share of each pixel that the picture covers.
    """
    covered = inside > 0.999
    if covered.all() or not covered.any():
        return alpha
    covered = ndimage.binary_erosion(covered, border_value=1)  # what was made beside the edge is half guessed
    away, (rows, columns) = ndimage.distance_transform_edt(~covered, return_indices=True)
    return np.where(away <= CONTINUED * len(alpha), alpha[rows, columns], alpha)


def compose(
    picture: np.ndarray,
    matte: np.ndarray,
    landmarks: Array,
    camera: Camera,
    flame: FlameParams,
    *,
    background: str,
) -> Portrait:
    """A portrait of a crop [H, W, 3] uint8 and its matte [H, W] uint8 over a background, see `prepare`."""
    colour = background_colour(background)
    rgb, alpha = picture.astype(np.float32) / 255.0, matte.astype(np.float32) / 255.0
    if colour is not None:
        rgb = np.asarray(ops.composite(_own_colours(rgb, alpha), alpha, colour))
    return Portrait(
        rgb=jnp.asarray(np.clip(rgb, 0.0, 1.0), jnp.float32),
        alpha=jnp.asarray(alpha),
        landmarks=landmarks,
        camera=camera,
        flame=flame,
    )


class _Found(NamedTuple):
    """A fit, in the crop of WORK pixels that `transform` makes of the picture, and what it was found in."""

    picture: np.ndarray
    known: np.ndarray | None
    transform: np.ndarray
    detection: Detection
    fitted: Fit


def _find(
    model: FlameModel,
    detector: Detector,
    picture: np.ndarray,
    known: np.ndarray | None,
    segmenter: Segmenter | None,
    *,
    face_index: int,
    rounds: int,
) -> _Found:
    """The head in a picture [H, W, 3] whose matte [H, W] may be known."""
    seen = picture if known is None else _over_grey(picture, known)
    transform, detection, fitted = _frame(model, detector, seen, face_index)
    for _ in range(rounds):
        alpha, inside, _ = _cut_out(model, fitted, picture, known, transform, segmenter)
        rgb, _ = warp(seen, transform, WORK)
        fitted = refine(model, fitted, detection, rgb, alpha, inside)
        transform, detection, fitted = _centred(model, transform, detection, fitted)
    fitted = _doubted(detector, fitted, detection, warp(seen, transform, WORK)[0])
    return _Found(picture, known, transform, detection, fitted)


def _upright(attempt: Callable[[int], _Found]) -> tuple[_Found, tuple[str, ...]]:
    """What is found in the picture as it lies, unless only a quarter turn of it gives a usable fit."""
    first, missed = None, NoFace(NO_FACE)
    for turns in (0, 1, 3, 2):
        try:
            found = attempt(turns)
        except NoFace as error:
            missed = error if turns == 0 else missed
            continue
        if found.fitted.confidence >= confidence.USABLE:
            note = f"The picture is taken as turned by {90 * turns} degrees to the left: so it shows a face."
            return found, (note,) if turns else ()
        first = found if turns == 0 else first
    if first is None:
        raise missed
    return first, ()


def several_faces(detection: Detection, index: int) -> tuple[str, ...]:
    """A sentence where the picture shows several faces."""
    if detection.faces < 2:
        return ()
    which = "the largest is used" if index == 0 else f"number {index} by size is used"
    return (f"{detection.faces} faces were found, {which}: --face_index=0 to {detection.faces - 1} chooses.",)


def _frame(
    model: FlameModel, detector: Detector, picture: np.ndarray, face_index: int
) -> tuple[np.ndarray, Detection, Fit]:
    """The crop's transform [2, 3] to WORK pixels a side, and detection and fit in it.

    A fit in a crop tells where the head's frame target is, how far, and its roll; the crop that shows it
    upright, in the middle and 1 m away is found in a few rounds. The face is detected once more in the
    first such crop, where it is larger than in most pictures.
    """
    detection = detector(picture).face(face_index)
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
    change = chain(new, invert(transform))
    angle = math.atan2(change[1, 0], change[0, 0])
    c, s = math.cos(angle), math.sin(angle)
    matrix = np.array(camera.world_to_camera)
    matrix[:3, :3] = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ matrix[:3, :3]
    matrix[:3, 3] = np.array([0.0, 0.0, 1.0]) - matrix[:3, :3] @ target
    camera = camera.replace(world_to_camera=jnp.asarray(matrix, jnp.float32))
    marks = landmarks_mediapipe(model, forward(model, fitted.flame)[0])
    points, _ = geometry.project(camera, marks)
    moved = detection.moved(chain(new, invert(transform)))
    return new, moved, fitted.replace(camera=camera, points=points)


def _doubted(detector: Detector, fitted: Fit, detection: Detection, rgb: np.ndarray) -> Fit:
    """The fit with the error to be expected of it; `rgb` [WORK, WORK, 3] is the canonical crop, 1 m away."""
    apart = float(fitted.interocular) * float(np.mean(np.asarray(fitted.camera.focal)))
    unsteady = confidence.unsteadiness(detector, rgb, detection) / apart
    expected = confidence.expected_error(float(fitted.error), unsteady, float(fitted.rim), detection.spread)
    return fitted.replace(expected=jnp.float32(expected))


def _doubts(fitted: Fit) -> tuple[str, ...]:
    """A sentence where the fit may well be wrong."""
    if fitted.confidence >= confidence.UNSURE:
        return ()
    off = float(fitted.expected)
    return (
        f"The fit is unsure, its landmarks may lie {off:.0%} of the eye distance off: look at its overlay, "
        "and where that is wrong use another picture or a tracker's parameters.",
    )


def _cut_out(
    model: FlameModel,
    fitted: Fit,
    picture: np.ndarray,
    known: np.ndarray | None,
    transform: np.ndarray,
    segmenter: Segmenter | None,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The person's alpha [WORK, WORK] in the crop, as known or found, which pixels of the crop the picture
    covers, and notes."""
    if known is None:
        rgb, inside = warp(picture, transform, WORK)
        alpha, notes = find_person(rgb, silhouette(model, fitted), inside > 0.5, segmenter)
        return alpha, inside > 0.5, notes
    alpha, inside = warp(as_uint8(known)[..., None], transform, WORK)
    return alpha[..., 0] * inside, inside > 0.5, ()


def _again(detector: Detector, picture: np.ndarray, transform: np.ndarray, first: Detection) -> Detection:
    """The detection repeated in a crop; the first one where the crop shows no face, or another's."""
    rgb, _ = warp(picture, transform, WORK)
    try:
        second = detector(as_uint8(rgb))
    except NoFace:
        return first
    faces = [face.moved(invert(transform)) for face in (second, *second.others)]

    def away(face: Detection) -> float:
        points, known = face.lookup(first.ids)
        return float(np.linalg.norm(points - first.points, axis=-1)[known].mean())

    nearest = min(faces, key=away)
    if away(nearest) > 0.15 * np.ptp(first.points, axis=0).max():
        return first
    return dataclasses.replace(nearest, faces=first.faces, others=first.others)


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
