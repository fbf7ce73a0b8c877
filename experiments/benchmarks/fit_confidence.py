"""The error to expect of a fit, found on synthetic people: signs that can be seen against the true error.

    python -m experiments.benchmarks.fit_confidence --detector=mediapipe --assets=FOLDER

prepares every person in each of the cases of `fit_cases`, in turn at yaw 0, 30 and 60 degrees. It prints how
`preprocess.confidence` does as it is, then its coefficients found anew: robust least squares of the logarithm
of the error, and for what a lost look counts. Correlations are Spearman's; those of the new coefficients are
of people whom they were not found on (five parts).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.benchmarks import fit, fit_cases, fit_scenes
from zero1a_jax import flame, preprocess
from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import NoFace, Refused
from zero1a_jax.flame import procedural_head
from zero1a_jax.preprocess import confidence
from zero1a_jax.preprocess.crop import warp
from zero1a_jax.preprocess.prepare import WORK

YAWS = (0, 30, 60)
PARTS = 5
USUAL_RESIDUAL = 0.5  # of the logarithm: beyond, a picture counts for less
TERMS = {"misfit": (0, 1), "unsteady": (0, 2), "misfit, unsteady": (0, 1, 2), "all": (0, 1, 2, 3)}


@dataclass(frozen=True)
class Options:
    """Whom to prepare, by which detector."""

    detector: str = option("mediapipe", "Points.", choices=("mediapipe", "embedded"))
    assets: str = option("", "Folder with face_landmarker.task for --detector=mediapipe.")
    first: int = option(100, "The first person's seed: none whom `fit` measures.", low=0, high=10**6)
    people: int = option(36, "How many.", low=10, high=10000)


class Row(NamedTuple):
    """One prepared picture. Distances in inter-ocular distances."""

    seed: int
    yaw: int
    points: float  # mean distance of the visible from the truth
    misfit: float
    unsteady: float  # NaN where a look was lost
    rim: float
    expected: float


def gather(options: Options) -> list[Row]:
    """All pictures whose face is found; says which are not."""
    model = procedural_head()
    vertices = jax.jit(lambda params: flame.forward(model, params)[0])
    embedded = options.detector == "embedded"
    detector = preprocess.embedded_detector() if embedded else preprocess.find_detector(options.assets)
    rows = []
    for seed in range(options.first, options.first + options.people):
        for k, case in enumerate(fit_cases.CASES):
            yaw = YAWS[(seed + k) % len(YAWS)]
            scene = fit_scenes.scene(seed, math.radians(yaw), case)
            try:
                prepared = preprocess.prepare_all(scene.picture, model=model, detector=detector, size=WORK)
            except NoFace as error:
                print(f"seed {seed}, {case}, yaw {yaw}: {error}", flush=True)
                continue
            fitted = prepared.fit
            apart = float(fitted.interocular) * float(np.mean(np.asarray(fitted.camera.focal)))
            rgb, _ = warp(scene.picture, prepared.transform, WORK)
            unsteady = confidence.unsteadiness(detector, rgb, prepared.detection) / apart
            points = fit.measure(model, scene, fitted, prepared.transform, vertices).points
            rows.append(
                Row(
                    seed,
                    yaw,
                    points,
                    float(fitted.error),
                    unsteady,
                    float(fitted.rim),
                    float(fitted.expected),
                )
            )
    return rows


def terms(rows: list[Row], lost: float) -> np.ndarray:
    """What the coefficients multiply [N, 4]; a lost look counts `lost`."""
    misfit, unsteady, rim = (np.array([getattr(row, name) for row in rows]) for name in Row._fields[3:6])
    unsteady = np.where(np.isnan(unsteady), lost, np.maximum(unsteady, confidence.STEADY))
    rim = np.minimum(np.where(np.isnan(rim), confidence.TYPICAL_RIM, rim), confidence.WIDEST)
    misfit = np.maximum(misfit, confidence.STEADY)
    return np.stack([np.ones(len(rows)), np.log(misfit), np.log(unsteady), rim], 1)


def solve(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Coefficients [K] of values [N, K] for wanted [N], far-off ones weighted down (Cauchy's weights)."""
    weights = np.ones(len(wanted))
    for _ in range(20):
        root = np.sqrt(weights)
        found = np.linalg.lstsq(values * root[:, None], wanted * root, rcond=None)[0]
        weights = 1.0 / (1.0 + ((wanted - values @ found) / USUAL_RESIDUAL) ** 2)
    return found


def rank_correlations(rows: list[Row], guess: np.ndarray) -> str:
    """Spearman's correlation of a guess [N] with the true errors, over all and at each yaw."""
    yaws, points = np.array([row.yaw for row in rows]), np.array([row.points for row in rows])

    def one(chosen: np.ndarray) -> float:
        guessed, true = (np.argsort(np.argsort(values[chosen])) for values in (guess, points))
        return float(np.corrcoef(guessed, true)[0, 1])

    parts = [np.ones(len(rows), bool), *(yaws == yaw for yaw in YAWS)]
    return " ".join(f"{one(part):.2f}" for part in parts)


def main(options: Options) -> None:
    """Prepares everybody and prints what was found."""
    if options.detector == "mediapipe" and not options.assets:
        raise Refused("give --assets=FOLDER with face_landmarker.task")
    rows = gather(options)
    true = np.log([row.points for row in rows])
    lost = np.isnan([row.unsteady for row in rows])
    expected = np.log([row.expected for row in rows])
    print(f"{len(rows)} pictures, {lost.sum()} with a lost look; correlations over all and at yaw {YAWS}")
    print(
        f"as it is: r {rank_correlations(rows, expected)}; true over expected, median "
        f"{np.exp(np.median(true - expected)):.2f}, within a factor of "
        f"{np.exp(np.median(np.abs(true - expected))):.2f} for half"
    )

    values = terms(rows, confidence.LOST)
    found = solve(values[~lost], true[~lost])
    rest: Any = (true - values[:, [0, 1, 3]] @ found[[0, 1, 3]])[lost] / found[2]
    print("coefficients", np.round(found, 2), "a lost look counts", np.round(np.exp(np.mean(rest)), 2))
    part = np.array([row.seed for row in rows]) % PARTS
    for name, columns in TERMS.items():
        guess = np.zeros(len(rows))
        for k in range(PARTS):
            learnt = solve(values[(part != k) & ~lost][:, columns], true[(part != k) & ~lost])
            guess[part == k] = values[part == k][:, columns] @ learnt
        off = np.exp(np.median(np.abs(true - guess)))
        print(f"{name}: r {rank_correlations(rows, guess)}; within a factor of {off:.2f} for half")


if __name__ == "__main__":
    command.run(Options, main, __doc__)
