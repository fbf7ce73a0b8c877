"""How far a fit's points may lie from the truth, told from what can be seen without it.

What a detector says again of the same face, turned and scaled a little, differs by less than its error but
grows with it: of all signs this one tells most, also of hidden and half-covered faces, where points and fit
agree with each other as well as ever.
"""

from __future__ import annotations

import math

import numpy as np

from zero1a_jax.errors import NoFace
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.preprocess.crop import invert, similarity, warp
from zero1a_jax.preprocess.detect import Detection, Detector

UNSURE = 0.2  # confidence below which the user is told
# Confidence below which a fit counts as wrong, 12 % of the eye distance off: a mouth taken for a face has
# 0.09, a face taken upside down 0.02; what the embedded net makes of photos that one may use has 0.15 and
# more (docs/results/portraits.md).
HOPELESS = 0.1
USABLE = 0.15  # below it the picture may lie on its side: the embedded net's fit of such a photo had 0.10
LOOKS = ((0.25, 0.9), (-0.25, 1.1))  # radians and scale about the crop's middle
LOST = 0.36  # inter-ocular distances that a look counts which finds no face
STEADY = 0.002  # at least: no detector repeats itself better
WIDEST = 0.1  # inter-ocular distances: a rim further off is another thing's edge
TYPICAL_RIM = 0.015  # where no matte was compared
# Of log(error) = c0 + c1 log(misfit) + c2 log(unsteady) + c3 rim + c4 log(spread / USUAL): least squares on
# pictures of synthetic people by MediaPipe, c4 on the embedded net's beside it. How, and how it does on
# others: experiments/benchmarks/fit_confidence.py, and docs/results/portraits.md.
COEFFICIENTS = (-0.79, 0.32, 0.38, 3.5, 2.0)
USUAL = 0.003  # metres: MediaPipe's spread


def unsteadiness(detector: Detector, rgb: np.ndarray, detection: Detection) -> float:
    """Mean distance in pixels between a face's points [K, 2] and those found again in turned crops; NaN where
    one of them does not show it.

    Args:
      rgb: [S, S, 3] in 0..1, a crop around the face.
      detection: the face's points, in the crop's pixels.
    """
    side = rgb.shape[0]
    picture = as_uint8(rgb)
    extent = float(np.ptp(detection.points, axis=0).max())
    away = []
    for turn, scale in LOOKS:
        transform = similarity(np.full(2, 0.5 * side), turn, scale, side)
        crop, _ = warp(picture, transform, side)
        try:
            again = detector(as_uint8(crop)).moved(invert(transform))
        except NoFace:
            away.append(math.nan)
            continue
        points, known = again.lookup(detection.ids)
        gap = float(np.linalg.norm(points - detection.points, axis=-1)[known].mean())
        away.append(gap if gap < 0.5 * extent else math.nan)  # another face
    return float(np.mean(away))


def expected_error(misfit: float, unsteady: float, rim: float, spread: float) -> float:
    """The error to expect: the mean distance of a fit's visible points from the truth.

    All in inter-ocular distances: `misfit` of the fitted from the detected points, `unsteady` between looks
    (NaN where one was lost), `rim` of the head from the person's edge (NaN where there is none). `spread` is
    Detection.spread in metres: what a detector gets wrong in the same way in each look.
    """
    unsteady = LOST if math.isnan(unsteady) else max(unsteady, STEADY)
    rim = TYPICAL_RIM if math.isnan(rim) else min(rim, WIDEST)
    terms = (1.0, math.log(max(misfit, STEADY)), math.log(unsteady), rim, math.log(spread / USUAL))
    return math.exp(sum(c * t for c, t in zip(COEFFICIENTS, terms, strict=True)))
