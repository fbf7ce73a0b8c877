"""Separating the person from the background, with a segmenter's answer or without any model file.

Without one the fitted head's silhouette says where the person surely is; hair, neck and shoulders are found
by colour and by the picture's edges, starting from it. On a plain background colour alone decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage

from zero1a_jax.config import colour
from zero1a_jax.errors import Refused
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.preprocess.segment import Segmenter
from zero1a_jax.types import Array

ndimage: Any = scipy.ndimage  # its own annotations mislead type checkers

PLAIN = 0.035  # spread of the border's colours (0..1) below which a background counts as plain
CLUSTERS = 5
ROUNDS, SWEEPS = 3, 40
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def background_colour(name: str) -> np.ndarray | None:
    """RGB [3] in 0..1 of "white", "black" or "#rrggbb"; None for "keep". Others are refused."""
    if name == "keep":
        return None
    return np.array(colour(name), np.float32)


def find_person(
    rgb: Array, head: Array, inside: Array, segmenter: Segmenter | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Alpha [H, W] of the person in a canonical crop, and sentences that the user should read.

    Args:
      rgb, head, inside: see `matte`.
      segmenter: tells the person where it is given and sees the head; else `matte` does.
    """
    if segmenter is None:
        return matte(rgb, head, inside), ()
    probability = segmenter(as_uint8(rgb))
    if shown(probability, np.asarray(head)) < 0.7:
        return matte(rgb, head, inside), ("The segmenter does not see the head: colours tell its outline.",)
    solid = _around_head(probability > 0.5, np.asarray(head) & inside)
    near = ndimage.binary_dilation(solid, iterations=max(2, head.shape[1] // 100))
    alpha = np.where(near & inside, np.clip(1.25 * probability - 0.125, 0.0, 1.0), 0.0)
    return alpha.astype(np.float32), ()


def shown(alpha: Array, head: Array) -> float:
    """The part of the fitted head's silhouette [H, W] that a matte [H, W] keeps."""
    return float(np.asarray(alpha)[np.asarray(head, bool)].mean()) if np.any(head) else 0.0


def matte(rgb: Array, head: Array, inside: Array | None = None) -> np.ndarray:
    """Alpha [H, W] in 0..1 of the person in a canonical crop.

    Args:
      rgb: [H, W, 3] in 0..1.
      head: [H, W] bool, the fitted head's silhouette (bald, with neck).
      inside: [H, W] bool, pixels that the picture covers; the rest is background. All by default.

    Returns alpha, soft at edges only. Raises Refused when the silhouette is empty.
    """
    rgb = np.asarray(rgb, np.float32)
    head = np.asarray(head, bool)
    if not head.any():
        raise Refused("The fitted head lies outside the picture: use a picture with the whole face.")
    inside = np.ones(head.shape, bool) if inside is None else np.asarray(inside, bool)
    rim = _rim(head, inside)
    plain = _plain_colour(rgb, rim)
    if plain is not None:
        return _key_out(rgb, plain, head, inside)
    return _soften(rgb, _segment(rgb, head, inside), inside)


def _rim(head: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Pixels that are most likely background: the top and upper sides of the picture, off the head."""
    height, width = head.shape
    edge = max(2, round(0.04 * width))
    rows = np.arange(height)[:, None] < 0.6 * height
    border = ~ndimage.binary_erosion(inside, iterations=edge, border_value=0) & inside
    grown = ndimage.binary_dilation(head, iterations=max(2, round(0.06 * width)))
    return border & rows & ~grown


def _plain_colour(rgb: np.ndarray, rim: np.ndarray) -> np.ndarray | None:
    """The background's one colour [3], or None where it has several."""
    colours = rgb[rim]
    if len(colours) < 16:
        return None
    middle = np.median(colours, 0)
    away = np.abs(colours - middle).max(-1)
    return middle if np.quantile(away, 0.9) < PLAIN else None


def _key_out(rgb: np.ndarray, colour: np.ndarray, head: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Alpha against a plain background: what is not its colour, or cannot be reached from outside."""
    away = np.abs(rgb - colour).max(-1)
    low, high = PLAIN, 4.0 * PLAIN
    like = (away < 0.5 * (low + high)) | ~inside
    like &= ~ndimage.binary_erosion(head, iterations=3)
    labels, _ = ndimage.label(like)
    outer = np.concatenate([labels[0], labels[:, 0], labels[:, -1]])
    reached = np.isin(labels, np.unique(outer[outer > 0]))
    near = ndimage.binary_dilation(reached, iterations=2)
    alpha = np.where(near, np.clip((away - low) / (high - low), 0.0, 1.0), 1.0)
    alpha = np.where(reached, np.minimum(alpha, 0.5), alpha)
    solid = _around_head(alpha > 0.5, head)
    alpha = alpha * ndimage.binary_dilation(solid, iterations=1)
    return (alpha * inside).astype(np.float32)


def _around_head(mask: np.ndarray, head: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that touch the head, holes filled."""
    labels, _ = ndimage.label(mask | head)
    keep = np.unique(labels[head])
    return ndimage.binary_fill_holes(np.isin(labels, keep[keep > 0]))


def _prior(head: np.ndarray) -> np.ndarray:
    """Log-odds [H, W] of being the person, from the place alone.

    Above the chin they fall with the distance from the head (hair is near it); below it a cone holds
    neck and shoulders.
    """
    height, width = head.shape
    rows, cols = np.nonzero(head)
    span = np.ptp(cols) + 1.0
    away = ndimage.distance_transform_edt(~head) / span  # in head widths
    depth = ndimage.distance_transform_edt(head) / span
    log_odds = np.where(head, 1.5 + 40.0 * depth, 1.5 - 8.5 * away)
    chin = np.quantile(rows, 0.85)
    middle = np.median(cols[rows > chin]) if (rows > chin).any() else cols.mean()
    y, x = np.mgrid[:height, :width]
    below = (y - chin) / span
    reach = 0.3 + 2.2 * np.maximum(below - 0.1, 0.0)  # shoulders widen fast below the neck
    shoulders = np.clip((reach - np.abs(x - middle) / span) * 6.0, -6.0, 1.5)
    return np.where(below > 0, np.maximum(log_odds, shoulders), log_odds).clip(-6.0, 6.0)


def _segment(rgb: np.ndarray, head: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Probability [H, W] of the person: two colour mixtures, the place, and smoothness along even
    areas (mean field), re-estimated a few times as GrabCut does."""
    prior = _prior(head)
    colours = _perceptual(rgb)
    sure_out = (prior <= -5.0) | ~inside
    sure_in = prior >= 4.0
    person = 1.0 / (1.0 + np.exp(-prior))
    couplings = _couplings(rgb)
    for i in range(ROUNDS):
        # At first the rim around the bald head counts as the person too, or hair is never learnt.
        front = _log_density(colours, colours[(person > (0.3 if i == 0 else 0.6)) & inside])
        back = _log_density(colours, colours[(person < (0.15 if i == 0 else 0.4)) & inside])
        unary = 0.6 * prior + np.clip(front - back, -6.0, 6.0)
        unary = np.where(sure_out, -20.0, np.where(sure_in, 20.0, unary))
        person = _mean_field(unary, couplings)
    solid = _around_head(person > 0.5, head & inside)
    return np.where(solid, np.maximum(person, 0.5), np.minimum(person, 0.5) * (person > 0.2)) * inside


def _perceptual(rgb: np.ndarray) -> np.ndarray:
    """Brightness and two colour differences [H, W, 3], lightly smoothed."""
    smooth = np.stack([ndimage.gaussian_filter(rgb[..., i], 0.7) for i in range(3)], -1)
    grey = smooth.mean(-1)
    return np.stack([grey, smooth[..., 0] - grey, smooth[..., 2] - grey], -1) * (1.0, 2.0, 2.0)


def _log_density(colours: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Log density [H, W] of a mixture of Gaussians put on k-means clusters of samples [N, 3]."""
    if len(samples) < 4 * CLUSTERS:
        return np.zeros(colours.shape[:-1])
    order = np.argsort(samples[:, 0], kind="stable")
    centers = samples[order[(np.arange(CLUSTERS) * 2 + 1) * len(order) // (2 * CLUSTERS)]]
    for _ in range(8):
        near = np.argmin(((samples[:, None] - centers) ** 2).sum(-1), -1)
        centers = np.stack(
            [samples[near == k].mean(0) if (near == k).any() else centers[k] for k in range(CLUSTERS)]
        )
    parts = []
    for k in range(CLUSTERS):
        own = samples[near == k]
        if len(own) < 4:
            continue
        covariance = np.cov(own.T) + np.eye(3) * 0.02**2
        away = colours - centers[k]
        squared = np.einsum("hwi,ij,hwj->hw", away, np.linalg.inv(covariance), away)
        log_weight = np.log(len(own) / len(samples)) - 0.5 * np.linalg.slogdet(covariance)[1]
        parts.append(log_weight - 0.5 * squared)
    return np.logaddexp.reduce(parts) if parts else np.zeros(colours.shape[:-1])


def _couplings(rgb: np.ndarray) -> list[np.ndarray]:
    """How strongly each pixel is tied to four of its eight neighbours [H, W]: weakly across edges."""
    gaps = []
    for dy, dx in NEIGHBOURS:
        away = np.roll(rgb, (-dy, -dx), (0, 1)) - rgb
        gaps.append((away**2).sum(-1) / np.hypot(dy, dx))
    level = max(float(np.mean(gaps)), 1e-6)
    couplings = []
    for gap, (dy, dx) in zip(gaps, NEIGHBOURS, strict=True):
        weight = np.exp(-gap / (2.0 * level)) / np.hypot(dy, dx)
        weight[-1:, :] *= dy == 0  # no tie around the picture's border
        if dx:
            weight[:, -1 if dx > 0 else 0] = 0.0
        couplings.append(1.6 * weight)
    return couplings


def _mean_field(unary: np.ndarray, couplings: list[np.ndarray]) -> np.ndarray:
    """Probabilities [H, W] of a grid of binary variables with log-odds `unary` and those ties."""
    belief = np.tanh(unary / 2.0)
    for _ in range(SWEEPS):
        field = unary.copy()
        for weight, (dy, dx) in zip(couplings, NEIGHBOURS, strict=True):
            field += weight * np.roll(belief, (-dy, -dx), (0, 1))
            field += np.roll(weight * belief, (dy, dx), (0, 1))
        belief = 0.5 * belief + 0.5 * np.tanh(field / 2.0)
    return 0.5 * (belief + 1.0)


def _soften(rgb: np.ndarray, person: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Alpha that follows the picture's edges: a guided filter (He et al. 2010) near the boundary."""
    size = max(3, round(rgb.shape[1] / 40) | 1)
    hard = (person > 0.5).astype(np.float64)
    grey = rgb.mean(-1).astype(np.float64)

    def blur(values: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(values, size, mode="nearest")

    mean, target = blur(grey), blur(hard)
    slope = (blur(grey * hard) - mean * target) / (blur(grey * grey) - mean**2 + 1e-3)
    alpha = blur(slope) * grey + blur(target - slope * mean)
    alpha = np.clip((alpha - 0.15) / 0.7, 0.0, 1.0)
    band = (ndimage.uniform_filter(hard, size) > 0.0) & (ndimage.uniform_filter(hard, size) < 1.0)
    return (np.where(band, alpha, hard) * inside).astype(np.float32)
