"""How well a face is fitted, on random synthetic people whose every point is known.

    python -m experiments.benchmarks.fit --detector=truth --people=64
    python -m experiments.benchmarks.fit --detector=mediapipe --assets=FOLDER --people=64
    python -m experiments.benchmarks.fit --detector=mediapipe --assets=FOLDER --people=16 --case=hand

prints a row of a Markdown table for each yaw: the mean distance of the visible ones of the 105 points from
the truth as a share of the frontal inter-ocular distance, median and largest, and the median that the fit
itself expects; the face's vertex error after rigid alignment beside that of the mean head; the error of yaw;
and Spearman's correlation of the expected and the true error. Then how well the ten strongest expression
shapes correlate over the heads. People whose face is not found are counted, not dropped: they are failures.
`truth` fits exact points alone; the others run the whole preparation, and `--refined=false` the landmarks
alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.benchmarks import fit_cases, fit_scenes
from zero1a_jax import flame, preprocess
from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import NoFace, Refused
from zero1a_jax.flame import procedural_head
from zero1a_jax.preprocess.fit import TOLERATED
from zero1a_jax.preprocess.prepare import REFINED, WORK
from zero1a_jax.types import Array


@dataclass(frozen=True)
class Options:
    """Whom to fit, from which points."""

    detector: str = option("truth", "Points.", choices=("truth", "mediapipe", "embedded"))
    assets: str = option("", "Folder with face_landmarker.task for --detector=mediapipe.")
    people: int = option(64, "Seeds 0 to people - 1.", low=4, high=100000)
    case: str = option("plain", "What makes it hard.", choices=fit_cases.CASES)
    refined: bool = option(True, "Whether the picture corrects the landmarks' fit.")


class Row(NamedTuple):
    """One fit against the truth."""

    points: float  # mean distance of the visible, inter-ocular distances
    vertices: float  # of the face, beside the mean head's
    yaw: float  # degrees, signed
    confidence: float
    true: Array  # expression weights
    found: Array


def strongest(model: Any, weights: np.ndarray, count: int = 10) -> list[int]:
    """Expression shapes that move the 105 points most over heads with `weights` [N, E]: root mean square
    weight times mean displacement. Gaze is fitted by the eyes' joints and left out."""
    rest = np.asarray(flame.landmarks_mediapipe(model, model.template))
    moved = [
        np.asarray(flame.landmarks_mediapipe(model, model.template + model.expression_basis[..., k])) - rest
        for k in range(model.expression_basis.shape[-1])
    ]
    strength = np.sqrt((weights**2).mean(0)) * np.linalg.norm(moved, axis=-1).mean(1)
    order = np.argsort(-strength)
    return [int(k) for k in order if not model.expression_names[k].startswith("eyeLook")][:count]


def aligned(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance of points [N, 3] after the rigid motion that fits them best (Kabsch 1976)."""
    one, other = one - one.mean(0), other - other.mean(0)
    u, _, v = np.linalg.svd(one.T @ other)
    turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))]) @ v
    return float(np.linalg.norm(one @ turn - other, axis=-1).mean())


def measure(
    model: Any, scene: fit_scenes.Scene, fitted: preprocess.Fit, transform: np.ndarray, vertices: Any
) -> Row:
    """A fit in the crop of `transform` [2, 3] against its scene."""
    linear = np.linalg.inv(transform[:, :2])
    points = (np.asarray(fitted.points) - transform[:, 2]) @ linear.T
    gap = np.linalg.norm(points - scene.points, axis=-1) / scene.interocular
    face = np.asarray(model.masks["face"])
    heads = scene.params, fitted.flame, flame.zero_params(model)
    true, found, mean = (np.asarray(vertices(params))[face] for params in heads)
    angle = math.atan2(transform[1, 0], transform[0, 0])
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    view = turn @ np.asarray(fitted.camera.world_to_camera)[:3, :3]
    off = [math.degrees(math.asin(-m[2, 0])) for m in (view, np.asarray(scene.camera.world_to_camera))]
    return Row(
        float(gap[scene.visible].mean()),
        aligned(found, true) / aligned(mean, true),
        off[0] - off[1],
        fitted.confidence,
        scene.params.expression,
        np.asarray(fitted.flame.expression),
    )


def main(options: Options) -> None:
    """Fits everybody from three sides and prints the table."""
    model = procedural_head()
    vertices = jax.jit(lambda params: flame.forward(model, params)[0])
    detector: Any = None
    if options.detector != "truth":
        if options.detector == "mediapipe" and not options.assets:
            raise Refused("give --assets=FOLDER with face_landmarker.task")
        embedded = options.detector == "embedded"
        detector = preprocess.embedded_detector() if embedded else preprocess.find_detector(options.assets)
    rounds = REFINED if options.refined else 0
    print("| yaw | found | points, median | largest | expected | vertices | yaw off | signed | rank r |")
    print("|---|---|---|---|---|---|---|---|---|")
    for yaw in (0, 30, 60):
        rows = []
        for seed in range(options.people):
            scene = fit_scenes.scene(seed, math.radians(yaw), options.case)
            try:
                if detector is None:
                    fitted, transform = preprocess.fit(model, scene.exact, scene.camera), np.eye(2, 3)
                else:
                    prepared = preprocess.prepare_all(
                        scene.picture, model=model, detector=detector, size=WORK, rounds=rounds
                    )
                    fitted, transform = prepared.fit, prepared.transform
            except NoFace:
                continue
            rows.append(measure(model, scene, fitted, transform, vertices))
        print(line(yaw, rows, options.people), flush=True)
        weights = np.stack([row.true for row in rows])
        found = np.stack([row.found for row in rows])
        for k in strongest(model, weights):
            print(f"  {model.expression_names[k]} {np.corrcoef(weights[:, k], found[:, k])[0, 1]:.3f}")


def line(yaw: int, rows: list[Row], people: int) -> str:
    """A row of the table. Who was not found counts as infinitely far off in the median of points."""
    points = np.array([row.points for row in rows] + [np.inf] * (people - len(rows)))
    turned = np.array([row.yaw for row in rows])
    expected = -TOLERATED * np.log([row.confidence for row in rows])
    doubt = np.argsort(np.argsort(expected))
    off = np.argsort(np.argsort([row.points for row in rows]))
    ratio = np.median([row.vertices for row in rows])
    return (
        f"| {yaw} | {len(rows)} of {people} | {np.median(points):.2%} | {max(r.points for r in rows):.2%} "
        f"| {np.median(expected):.2%} | {ratio:.2f} | {np.median(np.abs(turned)):.1f} | {turned.mean():+.1f} "
        f"| {np.corrcoef(doubt, off)[0, 1]:.2f} |"
    )


if __name__ == "__main__":
    command.run(Options, main, __doc__)
