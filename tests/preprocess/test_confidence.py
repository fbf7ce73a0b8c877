"""The error that a fit is expected to have, of signs that can be seen without the truth."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from zero1a_jax.errors import NoFace
from zero1a_jax.preprocess.confidence import LOOKS, expected_error, unsteadiness
from zero1a_jax.preprocess.crop import similarity
from zero1a_jax.preprocess.detect import NO_FACE, Detection

SIDE = 64


@pytest.fixture
def face():
    points = np.random.default_rng(0).uniform(20, 44, (40, 2)).astype(np.float32)
    return Detection(points, np.arange(40), np.eye(3), 1.0, {}, 1, "known")


def looks(face, answers):
    """A detector that finds the face where each turned crop shows it, but for what `answers` say."""
    turns = [similarity(np.full(2, SIDE / 2), turn, scale, SIDE) for turn, scale in LOOKS]
    given = zip(turns, answers, strict=True)

    def detect(_: np.ndarray) -> Detection:
        turn, answer = next(given)
        if answer is None:
            raise NoFace(NO_FACE)
        there = face.moved(turn)
        scale = math.sqrt(np.linalg.det(turn[:, :2]))
        return dataclasses.replace(there, points=there.points + scale * np.asarray(answer, np.float32))

    return detect


@pytest.mark.parametrize(
    ("answers", "pixels"),
    [
        ([(0, 0), (0, 0)], 0.0),
        ([(3, 4), (0, 0)], 2.5),
        ([(3, 0), (0, 5)], 4.0),
        ([(1, 0), None], math.nan),
        ([(1, 0), (40, 0)], math.nan),  # another face
    ],
)
def test_two_more_looks_are_compared_in_the_crops_pixels(face, answers, pixels):
    found = unsteadiness(looks(face, answers), np.zeros((SIDE, SIDE, 3), np.float32), face)
    np.testing.assert_allclose(found, pixels, atol=2e-5)


def test_every_sign_of_doubt_raises_the_expected_error():
    good, bad = (0.01, 0.01, 0.01, 0.003), (0.05, 0.05, 0.05, 0.004)
    mixed = [
        tuple(b if k in chosen else g for k, (g, b) in enumerate(zip(good, bad, strict=True)))
        for n in range(5)
        for chosen in itertools.combinations(range(4), n)
    ]
    errors = [expected_error(*signs) for signs in mixed]
    assert min(errors) == errors[0] and max(errors) == errors[-1] > 1.5 * errors[0]
    assert 0.005 < errors[0] < 0.03
    lost = expected_error(0.01, math.nan, 0.01, 0.003)
    assert lost > expected_error(0.01, 0.1, 0.01, 0.003)
    assert 0.0 < expected_error(0.0, 0.0, math.nan, 0.003) < errors[0]
    assert expected_error(0.01, 0.01, 50.0, 0.003) == expected_error(0.01, 0.01, 0.1, 0.003)
