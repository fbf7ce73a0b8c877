"""What makes a face hard to fit: closed eyes, an open mouth, glasses, a hand before the face."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from zero1a_jax.types import FlameModel

EXPRESSIONS = {
    "closed eyes": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0, "eyeWideLeft": 0.0, "eyeWideRight": 0.0},
    "open mouth": {"jawOpen": 0.9, "mouthClose": 0.0},
}
CASES = ("plain", *EXPRESSIONS, "glasses", "hand")
EYES = ((33, 133), (362, 263))  # MediaPipe's ids of the corners, image left to right from the front
MOUTH, NOSE = 13, 4  # of the upper lip's middle and of the nose's tip
FINE = 4  # drawn so much larger, then averaged


def forced_expression(model: FlameModel, case: str) -> np.ndarray:
    """Expression weights [E] that the case sets, NaN where it leaves them."""
    weights = np.full(len(model.expression_names), np.nan, np.float32)
    for name, value in EXPRESSIONS.get(case, {}).items():
        weights[model.expression_names.index(name)] = value
    return weights


def draw(
    case: str, picture: np.ndarray, points: dict[int, np.ndarray], interocular: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The picture [H, W, 3] uint8 with the case's thing before the face, and where it hides [H, W] bool.

    Args:
      points: pixels [2] of MediaPipe's ids that are named above.
      interocular: pixels between the outer eye corners as if the face were frontal.
      seed: of the thing's place, size and colour.
    """
    height, width = picture.shape[:2]
    if case not in ("glasses", "hand"):
        return picture, np.zeros((height, width), bool)
    rng = np.random.default_rng(seed)
    colours = Image.fromarray(picture).resize((width * FINE, height * FINE), Image.Resampling.NEAREST)
    cover = Image.new("L", colours.size, 0)
    if case == "glasses":
        _glasses(colours, cover, points, interocular, rng)
    else:
        _hand(colours, cover, points, interocular, rng)
    small = colours.resize((width, height), Image.Resampling.BOX)
    hidden = np.asarray(cover.resize((width, height), Image.Resampling.BOX)) > 127
    return np.asarray(small), hidden


def _glasses(
    colours: Image.Image,
    cover: Image.Image,
    points: dict[int, np.ndarray],
    interocular: float,
    rng: np.random.Generator,
) -> None:
    """Rims about both eyes, their bridge, tinted glass and a glint; the frame lies before its own points."""
    tint, strength = rng.uniform(20, 200, 3), rng.uniform(0.05, 0.4)
    frame = tuple(int(v) for v in rng.uniform(5, 90, 3))
    thick = FINE * interocular * rng.uniform(0.03, 0.07)
    boxes = []
    for one, other in EYES:
        middle = FINE * 0.5 * (points[one] + points[other]) + (0, FINE * 0.04 * interocular)
        across = FINE * float(np.linalg.norm(points[one] - points[other])) * 0.82
        half = np.array([across, FINE * interocular * rng.uniform(0.2, 0.24)])
        boxes.append((*(middle - half), *(middle + half)))
    glass = Image.new("L", colours.size, 0)
    for box in boxes:
        ImageDraw.Draw(glass).rounded_rectangle(box, radius=0.4 * (box[3] - box[1]), fill=int(255 * strength))
    colours.paste(tuple(int(v) for v in tint), mask=glass)
    lines = ImageDraw.Draw(colours), ImageDraw.Draw(cover)
    for pen, fill in zip(lines, (frame, 255), strict=True):
        for box in boxes:
            pen.rounded_rectangle(box, radius=0.4 * (box[3] - box[1]), outline=fill, width=round(thick))
        left, right = boxes
        level = 0.5 * (left[1] + left[3]) - 0.1 * (left[3] - left[1])
        pen.line((left[2], level, right[0], level), fill=fill, width=round(thick))
    for box in boxes:
        x, y = box[0] + 0.3 * (box[2] - box[0]), box[1] + 0.25 * (box[3] - box[1])
        lines[0].line((x, y + thick, x + thick, y), fill=(250, 250, 250), width=round(0.4 * thick))


def _hand(
    colours: Image.Image,
    cover: Image.Image,
    points: dict[int, np.ndarray],
    interocular: float,
    rng: np.random.Generator,
) -> None:
    """A palm and four fingers over the mouth or over one cheek and eye, of some skin's colour."""
    place = rng.integers(3)
    if place == 0:
        middle = points[MOUTH]
    else:
        middle = points[NOSE] + ((-1) ** place * 0.35 * interocular, 0.1 * interocular)
    middle = FINE * (middle + rng.normal(0.0, 0.08 * interocular, 2))
    size = FINE * interocular * rng.uniform(0.55, 0.8)
    angle = rng.uniform(-0.5, 0.5) + (-1) ** int(rng.integers(2)) * math.pi / 3
    skin = np.array([224, 172, 140]) * rng.uniform(0.35, 1.0)
    along = np.array([math.sin(angle), -math.cos(angle)])  # to the finger tips
    beside = np.array([math.cos(angle), math.sin(angle)])
    strokes = [(-2.5 * along, -0.9 * along, 0.35, 0.8)]  # the arm: from, to, radius, light
    strokes += [(-0.8 * along + k * beside, -0.3 * along + k * beside, 0.38, 0.9) for k in (-0.12, 0.0, 0.12)]
    for k, length in enumerate((0.75, 0.95, 0.9, 0.7)):
        root = (k - 1.5) * 0.24 * beside
        strokes.append((root - 0.3 * along, root + length * along, 0.105, 0.88 + 0.06 * (k % 2)))
    for start, end, radius, light in strokes:
        ends, radius = (middle + size * start, middle + size * end), size * radius
        colour = tuple(int(v) for v in np.clip(skin * light, 0, 255))
        for pen, fill in ((ImageDraw.Draw(colours), colour), (ImageDraw.Draw(cover), 255)):
            pen.line((*ends[0], *ends[1]), fill=fill, width=round(2 * radius))
            for x, y in ends:
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def needed(points: np.ndarray, ids: np.ndarray) -> dict[int, np.ndarray]:
    """Of points [P, 2] of MediaPipe's ids [P] those that `draw` asks for."""
    wanted = {*(i for eye in EYES for i in eye), MOUTH, NOSE}
    return {int(i): point for i, point in zip(ids, points, strict=True) if int(i) in wanted}
