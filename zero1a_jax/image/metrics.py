"""How a picture differs from the truth, besides PSNR and SSIM: sharpness, grain, and mere displacement."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.optimize

from zero1a_jax.types import Array

ndimage: Any = scipy.ndimage  # its own annotations mislead type checkers

FINE = 1.0 / 85  # of the image's side: standard deviation of the blur that leaves out what counts as fine
RIM = 3.0 * FINE  # so much of the mask's rim does not count, since the blur reaches over it
REACH = 1.0 / 16  # of the image's side: the farthest shift that the alignment begins from


def sharpness(image: Array, target: Array, mask: Array) -> float:
    """Energy of fine detail over the truth's: 1 is as sharp, below 1 blurred, above 1 grainy.

    Args:
      image, target: [H, W, 3]. mask: [H, W] bool, the pixels that count; its rim is left out, since every
        silhouette is sharp.
    """
    energies = [float(np.mean(_fine(picture, mask) ** 2)) for picture in (image, target)]
    return energies[0] / max(energies[1], 1e-12)


def grain(image: Array, mask: Array) -> float:
    """Standard deviation of fine detail where there is none: on the flat background of an image [H, W, 3].

    `mask` [H, W] bool is the background; its rim is left out, as by `sharpness`. 0 is as clean as the truth.
    """
    return float(np.sqrt(np.mean(_fine(image, mask) ** 2)))


def _fine(image: Array, mask: Array) -> np.ndarray:
    """What the blur leaves out at the mask's pixels but for its rim, [P, 3]."""
    side, picture = mask.shape[0], np.asarray(image, np.float64)
    inside = ndimage.binary_erosion(np.asarray(mask), iterations=math.ceil(RIM * side))
    return (picture - ndimage.gaussian_filter(picture, (FINE * side, FINE * side, 0)))[inside]


def aligned(image: Array, target: Array, mask: Array) -> np.ndarray:
    """The image [H, W, 3] moved and turned in its plane so that it is nearest to the target in the mask.

    A right face in a wrong place is told from a wrong one by what is left.
    """
    picture, truth = np.asarray(image, np.float64), np.asarray(target, np.float64)
    chosen, side = np.asarray(mask, bool), mask.shape[0]
    places, wanted = np.argwhere(chosen).T, truth[chosen].T

    def error(move: np.ndarray) -> float:
        turn, offset = _motion(picture, move)
        return float(np.mean((_sampled(picture, turn @ places + offset[:, None]) - wanted) ** 2))

    steps = np.linspace(-REACH * side, REACH * side, 5)
    starts = [np.array([x, y, 0.0]) for x in steps for y in steps]
    best = min(starts, key=error)
    simplex = best + np.vstack([np.zeros(3), np.diag([2.0, 2.0, 0.03])])
    found = scipy.optimize.minimize(
        error, best, method="Nelder-Mead", options={"initial_simplex": simplex, "xatol": 0.01, "maxfev": 120}
    )
    turn, offset = _motion(picture, found.x if found.fun < error(np.zeros(3)) else np.zeros(3))
    every = np.indices(chosen.shape).reshape(2, -1)
    return _sampled(picture, turn @ every + offset[:, None]).T.reshape(picture.shape)


def _motion(picture: np.ndarray, move: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(turn, offset): by a move (x, y, angle) pixel (row, column) comes from turn @ pixel + offset."""
    x, y, angle = move
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(picture.shape[:2]) - 1) / 2
    return turn, middle - turn @ (middle + np.array([y, x]))


def _sampled(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The colours [3, P] at places [2, P] (row, column), bilinear; those of the border beyond it."""
    return np.stack(
        [ndimage.map_coordinates(p, places, order=1, mode="nearest") for p in np.moveaxis(picture, -1, 0)]
    )
