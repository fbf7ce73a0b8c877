"""The embedded landmark net as a detector: a scan over places and sizes, then repeated closer looks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from zero1a_jax.preprocess import landmark_net
from zero1a_jax.preprocess.crop import similarity, warp
from zero1a_jax.preprocess.detect import Detection, Detector, together
from zero1a_jax.preprocess.landmark_net import CROP, IRISES, POINTS

SIDE = 2.0  # side of a crop in extents of the points, as in training
WINDOWS = (1.3, 1.0, 0.75, 0.57, 0.43, 0.32, 0.24)  # sides of scanned crops in shorter sides
STRIDE = 0.3  # of a window
BATCH = 32
KEPT = 10  # windows that are looked at closely
LOOKS = 4
VARIANTS = ((0.0, 1.0), (0.1, 0.95), (-0.1, 0.95), (0.06, 1.06), (-0.06, 1.06))  # turn, size
SURE, LIKELY = 0.0, 1.0  # logits: to be worth a closer look, and to be called a face
STEADY, AGREED = 0.08, 0.05  # extents that points may move in the last look, and differ between its crops
SPREAD = 0.004  # metres, standard deviation of the net's points about the truth


def embedded_detector(params: Any = None) -> Detector:
    """A detector that needs no download; `params` replaces the shipped weights.

    Of several faces the largest comes first. Raises ValueError on use when no face is found.
    """
    weights = landmark_net.load() if params is None else params

    def detect(picture: np.ndarray) -> Detection:
        faces: list[Detection] = []
        for window in _scan(weights, picture):
            face = _look_closer(weights, picture, *window)
            if face is not None:
                faces.append(face)
        return together(sorted(faces, key=_rank, reverse=True))

    return detect


def _rank(face: Detection) -> float:
    """Size, discounted where the net is unsure: a false find may be larger than the face."""
    return _extent(face.points) / (1.0 + math.exp(3.0 - face.confidence))


def _extent(points: np.ndarray) -> float:
    return float(np.ptp(points[: -len(IRISES)], axis=0).max())


def _middle(points: np.ndarray) -> np.ndarray:
    face = points[: -len(IRISES)]
    return 0.5 * (face.min(0) + face.max(0))


def _windows(width: int, height: int) -> Iterator[tuple[float, float, float]]:
    """Centres and sides of scanned crops, in pixels."""
    short = min(width, height)
    for part in WINDOWS:
        side = part * short
        columns, rows = _centres(width, side), _centres(height, side)
        yield from ((x, y, side) for y in rows for x in columns)


def _centres(full: int, side: float) -> np.ndarray:
    """Places of windows along one axis, a little over the picture's borders."""
    free = full - 0.6 * side
    if free <= 0:
        return np.array([0.5 * full])
    return np.linspace(0.3 * side, full - 0.3 * side, math.ceil(free / (STRIDE * side)) + 1)


def _scan(weights: Any, picture: np.ndarray) -> list[tuple[np.ndarray, float, float]]:
    """The most promising places: middle [2] and extent of a face's points, and its angle."""
    height, width = picture.shape[:2]
    windows = list(_windows(width, height))
    crops = [_cut(picture, x, y, side) for x, y, side in windows]
    output = _run(weights, np.stack(crops))
    found = []
    for i in np.argsort(-output.confidence, kind="stable"):
        if output.confidence[i] < SURE or len(found) == KEPT:
            break
        x, y, side = windows[i]
        points = (output.points[i] - 0.5 * CROP) * (side / CROP) + (x, y)
        middle, extent = _middle(points), _extent(points)
        near = (np.linalg.norm(middle - other) < 0.25 * extent and 0.6 < extent / size < 1.6
                for other, size, _ in found)  # fmt: skip
        if not any(near):
            found.append((middle, extent, _angle(np.asarray(output.rotation[i]))))
    return found


def _cut(picture: np.ndarray, x: float, y: float, side: float) -> np.ndarray:
    """A quick upright crop [128, 128, 3] uint8; grey beyond the picture."""
    box = (x - 0.5 * side, y - 0.5 * side, x + 0.5 * side, y + 0.5 * side)
    return np.asarray(Image.fromarray(picture).transform(
        (CROP, CROP), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128)
    ))  # fmt: skip


def _angle(rotation: np.ndarray) -> float:
    """Clockwise angle on screen of the head's up from the picture's."""
    return math.atan2(rotation[0, 1], rotation[1, 1])


def _run(weights: Any, crops: np.ndarray) -> landmark_net.Output:
    """The net on crops [N, 128, 128, 3] uint8, in batches of one size."""
    parts = []
    for start in range(0, len(crops), BATCH):
        batch = crops[start : start + BATCH]
        padded = np.concatenate([batch, np.zeros((BATCH - len(batch), *batch.shape[1:]), batch.dtype)])
        output = landmark_net.apply(weights, padded.astype(np.float32) / 255.0)
        parts.append([np.asarray(field)[: len(batch)] for field in output])
    return landmark_net.Output(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def _look_closer(
    weights: Any, picture: np.ndarray, middle: np.ndarray, extent: float, angle: float
) -> Detection | None:
    """Points refined in crops cut around the last ones; None where they do not settle on a face.

    The last look is taken in five slightly different crops, whose answers are averaged and compared.
    """
    points, rotation, confidence, moved = None, np.eye(3), 0.0, math.inf
    for look in range(LOOKS):
        variants = VARIANTS if look == LOOKS - 1 else VARIANTS[:1]
        scale = CROP / (SIDE * extent)
        maps = [similarity(middle, angle + turn, scale * size, CROP) for turn, size in variants]
        crops = [np.round(warp(picture, transform, CROP)[0] * 255).astype(np.uint8) for transform in maps]
        output = _run(weights, np.stack(crops))
        views = [_to_picture(*view) for view in zip(maps, output.points, output.rotation, strict=True)]
        several = np.stack([view[0] for view in views])
        new = several.mean(0)
        differ = float(np.linalg.norm(several - new, axis=-1).mean()) / extent
        u, _, v = np.linalg.svd(np.mean([view[1] for view in views], 0))
        rotation = u @ v
        if points is not None:
            moved = float(np.linalg.norm(new - points, axis=-1).mean()) / extent
        points, middle, extent, angle = new, _middle(new), _extent(new), _angle(rotation)
        inside = np.all((middle > 0) & (middle < (picture.shape[1], picture.shape[0])))
        if not inside or extent < 8.0:
            return None
        # Crops that disagree about a face's points do not show one.
        confidence = float(np.mean(output.confidence)) - 2.0 * differ / AGREED
    if points is None or confidence < LIKELY or moved > STEADY:
        return None
    return Detection(
        points=points.astype(np.float32), ids=np.array(POINTS), rotation=rotation.astype(np.float32),
        confidence=confidence, scores={}, faces=1, source="embedded", spread=SPREAD,
    )  # fmt: skip


def _to_picture(
    transform: np.ndarray, points: np.ndarray, rotation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points and rotation of a crop in the picture's pixels and axes."""
    linear = np.linalg.inv(transform[:, :2])
    back = np.concatenate([linear, -linear @ transform[:, 2:]], 1)
    angle = math.atan2(back[1, 0], back[0, 0])
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return points @ back[:, :2].T + back[:, 2], turn @ rotation
