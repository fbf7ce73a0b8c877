"""One photograph and five pictures made hard from it, prepared, measured and shown.

    python -m experiments.benchmarks.hard_portraits --image=PHOTO --assets=FOLDER --sheet=hard.png

prints a row of a Markdown table for each: how far the fitted points lie from the detected, and from where the
fit of the unchanged photograph puts them, how far they are expected from the truth (all in inter-ocular
distances), the confidence, and the seconds.
The sheet has a column for each: crop, landmarks, matte, fitted head over the crop.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from zero1a_jax import flame, preprocess
from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused
from zero1a_jax.flame import procedural_head
from zero1a_jax.preprocess.crop import chain, invert, similarity, warp
from zero1a_jax.preprocess.look import shaded

SIZE = 256
ANGLE = 35.0
GREY = (90, 90, 90)
SLEEVE = (150, 110, 90)


@dataclass(frozen=True)
class Options:
    """What to make hard."""

    image: str = option("", "A photograph of one face.")
    assets: str = option("", "Folder with face_landmarker.task; without it the embedded net.")
    sheet: str = option("", "A picture to write.")


def hard(photo: np.ndarray, face: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By name a picture [H, W, 3] uint8 and the map [2, 3] of the photo's pixels to its own.

    face [K, 2] are the photo's landmarks. `mirrored` maps the other way round.
    """
    height, width = photo.shape[:2]
    same = np.eye(2, 3)
    (left, top), (right, bottom) = face.min(0), face.max(0)
    wide, tall = right - left, bottom - top

    side = int(np.ceil(np.hypot(width, height)))
    turn = similarity(np.array([width / 2, height / 2]), np.radians(-ANGLE), 1.0, side)
    turned, inside = warp(photo, turn, side)
    turned = np.where(inside[..., None] > 0.5, turned * 255.0, GREY).round().astype(np.uint8)

    noise = np.random.default_rng(0).normal(0.0, 4.0, photo.shape)
    dark = np.clip(photo * 0.16 + noise, 0, 255).astype(np.uint8)

    middle = np.array([0.5 * (left + right), 0.5 * (top + bottom) - 0.1 * tall])
    shrink = similarity(middle, 0.0, 96 / (2.2 * max(wide, tall)), 96)
    small = (warp(photo, shrink, 96)[0] * 255.0).round().astype(np.uint8)

    covered = photo.copy()
    rows = slice(max(0, int(top + 0.62 * tall)), int(bottom + 8))
    covered[rows, max(0, int(left - 8)) : int(right + 8)] = SLEEVE
    return {
        "as it is": (photo, same),
        f"turned by {ANGLE:.0f} degrees": (turned, turn),
        "mirrored": (photo[:, ::-1].copy(), np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0]])),
        "light times 0.16, noise": (dark, same),
        "96 pixels": (small, shrink),
        "mouth and chin covered": (covered, same),
    }


def main(options: Options) -> None:
    """Prints the table and writes the sheet."""
    if not options.image:
        raise Refused("give --image=PHOTO")
    model, detector = procedural_head(), preprocess.find_detector(options.assets or None)
    photo = np.asarray(Image.open(options.image).convert("RGB"))
    rest = np.asarray(flame.landmarks_mediapipe(model, model.template))
    partner = np.linalg.norm(rest * (-1, 1, 1) - rest[:, None], axis=-1).argmin(1)

    print("| picture | from the detected | from the plain fit | expected | confidence | seconds |")
    print("|---|---|---|---|---|---|")
    first, columns = np.zeros((0, 2)), []
    for name, (picture, moved) in hard(photo, detector(photo).points).items():
        start = time.perf_counter()
        try:
            prepared = preprocess.prepare_all(picture, model=model, detector=detector, size=SIZE)
        except Refused as error:
            print(f"| {name} | {error} |", flush=True)
            continue
        seconds = time.perf_counter() - start
        fitted = prepared.fit
        to_photo = invert(chain(prepared.transform, moved))
        points = np.asarray(fitted.points) @ to_photo[:, :2].T + to_photo[:, 2]
        points = points[partner] if name == "mirrored" else points
        first = first if len(first) else points
        away = np.linalg.norm(points - first, axis=-1).mean() / _eyes(model, first)
        print(
            f"| {name} | {float(fitted.error):.1%} | {away:.1%} | {float(fitted.expected):.1%} "
            f"| {fitted.confidence:.2f} | {seconds:.1f} |",
            flush=True,
        )
        columns.append(_column(model, prepared, picture))
    if options.sheet:
        Image.fromarray(np.concatenate(columns, 1)).save(options.sheet)


def _eyes(model: Any, points: np.ndarray) -> float:
    """Pixels between the outer eye corners of the 105 points [105, 2]."""
    ids = np.asarray(model.mediapipe_indices).tolist()
    return float(np.linalg.norm(points[ids.index(33)] - points[ids.index(263)]))


def _column(model: Any, prepared: preprocess.Prepared, picture: np.ndarray) -> np.ndarray:
    """Crop, landmarks, matte and fitted head, one below the other, uint8."""
    pictures = preprocess.pictures(model, prepared)
    rgb, _ = warp(picture, prepared.transform, SIZE)
    clay, cover = shaded(model, prepared.fit)
    over = np.where(cover[..., None], 0.55 * clay + 0.45 * rgb, rgb)
    crop, head = ((np.clip(image, 0, 1) * 255).astype(np.uint8) for image in (rgb, over))
    return np.concatenate([crop, pictures["landmarks"], pictures["matte"], head])


if __name__ == "__main__":
    command.run(Options, main, __doc__)
