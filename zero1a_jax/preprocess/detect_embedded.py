"""The embedded landmark net as a detector: a scan over places and sizes, then repeated closer looks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from zero1a_jax.image.colour import as_uint8
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
SPREAD = 0.0034  # metres, standard deviation of the net's points about the truth


def embedded_detector(params: Any = None) -> Detector:
    """A detector that needs no download; `params` replaces the shipped weights.

    Of several faces the largest comes first. Raises Refused on use when no face is found.
    """
    weights = landmark_net.load() if params is None else params

    def detect(picture: np.ndarray) -> Detection:
        faces = _look_closer(weights, picture, _scan(weights, picture))
        return together(faces, size=_rank)

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
        near = (
            np.linalg.norm(middle - other) < 0.25 * extent and 0.6 < extent / size < 1.6
            for other, size, _ in found
        )
        if not any(near):
            found.append((middle, extent, _angle(np.asarray(output.rotation[i]))))
    return found


def _cut(picture: np.ndarray, x: float, y: float, side: float) -> np.ndarray:
    """A quick upright crop [128, 128, 3] uint8; grey beyond the picture."""
    box = (x - 0.5 * side, y - 0.5 * side, x + 0.5 * side, y + 0.5 * side)
    return np.asarray(
        Image.fromarray(picture).transform(
            (CROP, CROP), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128)
        )
    )


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


class _Look(NamedTuple):
    """Where a face may be, in the picture's pixels, after some looks at it."""

    middle: np.ndarray  # [2]
    extent: float
    angle: float
    points: np.ndarray | None = None  # [K, 2]
    rotation: np.ndarray = np.eye(3)
    confidence: float = 0.0
    moved: float = math.inf  # extents, since the look before


def _look_closer(
    weights: Any, picture: np.ndarray, windows: list[tuple[np.ndarray, float, float]]
) -> list[Detection]:
    """Points refined in crops cut around the last ones, of those windows [N] that settle on a face.

    The last look is taken in five slightly different crops, whose answers are averaged and compared. All
    windows go through the net together: a batch costs as much for one crop as for many.
    """
    looks = [_Look(*window) for window in windows]
    for number in range(LOOKS):
        variants = VARIANTS if number == LOOKS - 1 else VARIANTS[:1]
        maps = [_crop_map(look, turn, size) for look in looks for turn, size in variants]
        if not maps:
            return []
        crops = [as_uint8(warp(picture, transform, CROP)[0]) for transform in maps]
        output = _run(weights, np.stack(crops))
        answers = list(zip(maps, *output, strict=True))
        shares = (answers[i : i + len(variants)] for i in range(0, len(answers), len(variants)))
        new = [_next(look, share) for look, share in zip(looks, shares, strict=True)]
        looks = [look for look in new if _plausible(look, picture.shape)]
    return [
        Detection(
            points=look.points.astype(np.float32),
            ids=np.array(POINTS),
            faces=1,
            source="embedded",
            rotation=look.rotation.astype(np.float32),
            confidence=look.confidence,
            scores={},
            spread=SPREAD,
        )
        for look in looks
        if look.points is not None and look.confidence >= LIKELY and look.moved <= STEADY
    ]


def _crop_map(look: _Look, turn: float, size: float) -> np.ndarray:
    """The map [2, 3] to a crop around a face, turned and sized a little."""
    return similarity(look.middle, look.angle + turn, size * CROP / (SIDE * look.extent), CROP)


def _next(look: _Look, answers: list[tuple]) -> _Look:
    """A look after the net's answers (map, points, rotation, confidence) to one or more crops of it."""
    views = [_to_picture(*answer[:3]) for answer in answers]
    several = np.stack([points for points, _ in views])
    new = several.mean(0)
    differ = float(np.linalg.norm(several - new, axis=-1).mean()) / look.extent
    u, _, v = np.linalg.svd(np.mean([rotation for _, rotation in views], 0))
    moved = math.inf
    if look.points is not None:
        moved = float(np.linalg.norm(new - look.points, axis=-1).mean()) / look.extent
    # Crops that disagree about a face's points do not show one.
    confidence = float(np.mean([answer[3] for answer in answers])) - 2.0 * differ / AGREED
    return _Look(_middle(new), _extent(new), _angle(u @ v), new, u @ v, confidence, moved)


def _plausible(look: _Look, shape: tuple[int, ...]) -> bool:
    """Whether a face lies inside a picture of that shape and is large enough."""
    inside = np.all((look.middle > 0) & (look.middle < (shape[1], shape[0])))
    return bool(inside) and look.extent >= 8.0


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
