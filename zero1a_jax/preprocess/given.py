"""A picture with what is known of its matte: which transparency and which masks mean a person."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.spatial
from PIL import Image

from zero1a_jax.errors import NoFace, Refused
from zero1a_jax.preprocess.detect import Detection, Detector
from zero1a_jax.preprocess.load import load_image, load_mask

ndimage: Any = scipy.ndimage  # its own annotations mislead type checkers

# Of its convex hull a frame covers all, a person much less: the neck is narrower than head and shoulders.
FRAME = 0.97
# A head without its neck is as convex. But a frame fills more of its box (a head 0.83) or is the same
# upside down or mirrored, as circles and diamonds are (a head agrees with itself to 0.94).
FULL, ALIKE = 0.87, 0.97


def picture_and_matte(
    image: str | os.PathLike | Image.Image | np.ndarray, mask: str | os.PathLike | None, detector: Detector
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """A picture [H, W, 3] uint8, its person's matte [H, W] in 0..1 where it is known, and notes.

    A mask goes before the picture's own transparency. Raises Refused as `load.load_image` and `load_mask`.
    """
    picture, alpha, notes = load_image(image)
    if mask is not None:
        known, more = right_way_round(load_mask(mask, picture.shape[:2]), picture, detector)
        return picture, known, notes + more
    if alpha is None or not is_frame(alpha):
        return picture, alpha, notes
    _, (rows, columns) = ndimage.distance_transform_edt(alpha < 0.95, return_indices=True)
    note = "The picture's transparency is a frame, such as rounded corners: the person is cut out anew."
    return picture[rows, columns], None, (*notes, note)


def is_frame(alpha: np.ndarray) -> bool:
    """Whether what is opaque in alpha [H, W] is convex and regular, as within rounded corners or a circle: no
    person.

    A rectangle of less than half of the picture is somebody's choice.
    """
    opaque = np.argwhere(alpha > 0.5)
    if len(opaque) < 0.1 * alpha.size or np.ptp(opaque, axis=0).min() < 2:
        return False
    (top, left), (bottom, right) = opaque.min(0), opaque.max(0) + 1
    box = alpha[top:bottom, left:right] > 0.5
    if box.all() and box.size < 0.5 * alpha.size:
        return False
    corners = np.concatenate([opaque + (y, x) for y in (0, 1) for x in (0, 1)])
    hull = scipy.spatial.ConvexHull(corners).volume  # in a plane, the area
    alike = max((box & turned).sum() / (box | turned).sum() for turned in (box[::-1], box[:, ::-1]))
    return len(opaque) > FRAME * hull and (box.mean() > FULL or alike > ALIKE)


def right_way_round(
    mask: np.ndarray, picture: np.ndarray, detector: Detector
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A mask [H, W] with the person in white: turned inside out where it shows the upper corners and no face.

    Raises Refused where the mask is black all over.
    """
    if mask.max() < 0.5:
        raise Refused("The mask shows nobody: it must be white where the person is.")
    if mask.min() > 0.5:
        return mask, ()
    try:
        face = detector(picture)
    except NoFace:  # perhaps there is one once the rest is masked
        return mask, ()
    if max(_covered(mask, one) for one in (face, *face.others)) > 0.2 or min(mask[0, 0], mask[0, -1]) < 0.5:
        return mask, ()
    return 1.0 - mask, ("The mask is black where the face is: it is taken inside out.",)


def _covered(mask: np.ndarray, face: Detection) -> float:
    """The part of a face's points that lie on white."""
    height, width = mask.shape
    x, y = np.floor(face.points).astype(int).T
    there = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return float((mask[y[there], x[there]] > 0.5).mean()) if there.any() else 1.0
