"""The embedded head's skin as a signed distance field: smooth unions of ellipsoids and tapered capsules.

All functions take points [N, 3] in metres in FLAME's frame (+x the subject's left, +y up, +z out of the
face) and are float64 numpy; the field is mirror-symmetric in x. Ears are no part of it: they are swept
separately (`head_patches.ear_rings`). Distances are approximate (bounded by the true ones), which is all
that sphere tracing and projection need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

EYE = np.array([0.0315, 0.0300, 0.0640])  # centre of the left eyeball
EYE_RADIUS = 0.0122
LID_RADIUS = 0.0137


def ellipsoid(p: np.ndarray, centre: ArrayLike, radii: ArrayLike) -> np.ndarray:
    """Approximate signed distance [N] to an ellipsoid (first-order; exact on the surface)."""
    q = (p - np.asarray(centre)) / np.asarray(radii)
    k0 = np.linalg.norm(q, axis=1)
    k1 = np.linalg.norm(q / np.asarray(radii), axis=1)
    return k0 * (k0 - 1) / np.maximum(k1, 1e-9)


def capsule(p: np.ndarray, a: ArrayLike, b: ArrayLike, radius_a: float, radius_b: float) -> np.ndarray:
    """Signed distance [N] to a capsule from a to b whose radius changes linearly."""
    a, b = np.asarray(a), np.asarray(b)
    ab = b - a
    t = np.clip((p - a) @ ab / (ab @ ab), 0, 1)
    return np.linalg.norm(p - a - t[:, None] * ab, axis=1) - (radius_a + (radius_b - radius_a) * t)


def tube(p: np.ndarray, points: Sequence[ArrayLike], radii: Sequence[float], blend: float) -> np.ndarray:
    """Signed distance [N] to a chain of capsules, smoothly joined."""
    d = capsule(p, points[0], points[1], radii[0], radii[1])
    for i in range(1, len(points) - 1):
        d = union(d, capsule(p, points[i], points[i + 1], radii[i], radii[i + 1]), blend)
    return d


def union(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Polynomial smooth minimum with blend width k metres."""
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return b + (a - b) * h - k * h * (1 - h)


def carve(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Removes the solid b from a, with blend width k metres."""
    return -union(-a, b, k)


def _skull(p: np.ndarray) -> np.ndarray:
    d = ellipsoid(p, (0, 0.058, -0.020), (0.0740, 0.075, 0.0900))  # braincase
    d = union(d, ellipsoid(p, (0, 0.020, -0.048), (0.0560, 0.058, 0.0500)), 0.03)  # back of the head
    d = union(d, ellipsoid(p, (0, 0.055, 0.018), (0.0640, 0.066, 0.066)), 0.03)  # forehead
    d = union(d, ellipsoid(p, (0, -0.004, 0.034), (0.0600, 0.066, 0.050)), 0.03)  # middle of the face
    d = union(d, ellipsoid(p, (0, -0.050, 0.046), (0.0400, 0.036, 0.040)), 0.025)  # jaw block
    d = union(d, ellipsoid(p, (0.0400, -0.026, 0.0220), (0.0185, 0.038, 0.0310)), 0.024)  # chewing muscle
    mandible = [(0.052, -0.004, -0.002), (0.0440, -0.044, 0.012), (0.0165, -0.0775, 0.061)]
    d = union(d, tube(p, mandible, [0.011, 0.0115, 0.012], 0.015), 0.024)
    d = union(d, ellipsoid(p, (0, -0.0785, 0.0720), (0.0185, 0.0155, 0.0150)), 0.016)  # chin
    d = union(d, ellipsoid(p, (0.0430, 0.0050, 0.0500), (0.0205, 0.0170, 0.0190)), 0.020)  # cheekbone
    d = union(d, ellipsoid(p, (0.030, -0.024, 0.055), (0.025, 0.028, 0.024)), 0.02)  # cheek
    brow = [(0, 0.0480, 0.0790), (0.022, 0.0520, 0.0755), (0.0465, 0.0460, 0.0560)]
    d = union(d, tube(p, brow, [0.0066, 0.0074, 0.0068], 0.01), 0.016)
    d = union(d, ellipsoid(p, (0.040, 0.012, -0.022), (0.0275, 0.044, 0.040)), 0.02)  # temple, mastoid
    d = union(d, ellipsoid(p, (0, -0.036, 0.0690), (0.0300, 0.0220, 0.0165)), 0.016)  # under the lips
    neck = [(0, -0.045, -0.034), (0, -0.105, -0.036), (0, -0.175, -0.040)]
    d = union(d, tube(p, neck, [0.047, 0.0465, 0.055], 0.02), 0.026)
    muscle = [(0.050, -0.005, -0.035), (0.020, -0.140, 0.006)]  # sternomastoid
    return union(d, tube(p, muscle, [0.012, 0.009], 0.01), 0.022)


def _nose(d: np.ndarray, p: np.ndarray) -> np.ndarray:
    bridge = [(0, 0.0400, 0.0770), (0, 0.0230, 0.0840), (0, 0.0040, 0.0950), (0, -0.0040, 0.0990)]
    d = union(d, tube(p, bridge, [0.0062, 0.0056, 0.0068, 0.0078], 0.006), 0.012)
    d = union(d, capsule(p, (0.0050, 0.0180, 0.0800), (0.0085, -0.0050, 0.0885), 0.0040, 0.0056), 0.012)
    d = union(d, np.linalg.norm(p - np.array([0.0022, -0.0070, 0.1010]), axis=1) - 0.0083, 0.007)  # tip
    d = union(d, ellipsoid(p, (0.0120, -0.0108, 0.0900), (0.0058, 0.0062, 0.0086)), 0.0055)  # wing
    d = union(d, capsule(p, (0, -0.0125, 0.0965), (0, -0.0185, 0.0880), 0.0040, 0.0042), 0.006)  # columella
    nostril = capsule(p, (0.0068, -0.0200, 0.0945), (0.0062, -0.0120, 0.0925), 0.0030, 0.0022)
    return carve(d, nostril, 0.0035)


def _lips(d: np.ndarray, p: np.ndarray) -> np.ndarray:
    philtrum = capsule(p, (0, -0.0235, 0.0970), (0, -0.0345, 0.0960), 0.0024, 0.0030)
    d = carve(d, philtrum, 0.007)
    nasolabial = capsule(p, (0.0200, -0.010, 0.0920), (0.0280, -0.0300, 0.0835), 0.0010, 0.0002)
    d = carve(d, nasolabial, 0.012)
    upper = [(0, -0.0414, 0.0876), (0.007, -0.0404, 0.0876), (0.016, -0.043, 0.0832)]
    upper.append((0.024, -0.0456, 0.0757))
    d = union(d, tube(p, upper, [0.0050, 0.0052, 0.0040, 0.0008], 0.003), 0.0055)
    lower = [(0, -0.0526, 0.0862), (0.01, -0.052, 0.085), (0.018, -0.0492, 0.0806), (0.0238, -0.0462, 0.0752)]
    d = union(d, tube(p, lower, [0.0064, 0.0060, 0.0044, 0.0008], 0.003), 0.0055)
    d = carve(d, capsule(p, (0, -0.0650, 0.0945), (0.014, -0.0630, 0.0910), 0.0050, 0.0040), 0.011)
    line = [(0, -0.0468, 0.0958), (0.0090, -0.0463, 0.0936), (0.0205, -0.0457, 0.0862)]  # between the lips
    return carve(d, tube(p, line, [0.0024, 0.0022, 0.0010], 0.002), 0.0034)


def distance(points: np.ndarray) -> np.ndarray:
    """Signed distance [N] (metres, negative inside) of points [N, 3] to the head's skin without ears."""
    p = np.array(points, float)
    p[:, 0] = np.abs(p[:, 0])
    d = _skull(p)
    d = union(d, ellipsoid(p, (0, -0.112, 0.006), (0.011, 0.016, 0.012)), 0.020)  # larynx
    d = carve(d, ellipsoid(p, (0.0325, 0.0290, 0.0845), (0.0185, 0.0120, 0.0145)), 0.014)  # eye socket
    d = union(d, np.linalg.norm(p - EYE, axis=1) - LID_RADIUS, 0.0050)  # lids over the eyeball
    return _lips(_nose(d, p), p)


def gradient(points: np.ndarray, step: float = 2e-4) -> np.ndarray:
    """Unit outward direction [N, 3] of the field at points, by central differences."""
    axes = step * np.eye(3)
    g = np.stack([distance(points + e) - distance(points - e) for e in axes], 1)
    return g / np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-12)


def trace(origin: np.ndarray, directions: np.ndarray, start: float = 0.30) -> np.ndarray:
    """Outermost surface points [N, 3] along rays from origin [3], found by marching inwards."""
    t = np.full(len(directions), start)
    for _ in range(90):
        t -= np.clip(distance(origin + t[:, None] * directions), -0.01, 0.03) * 0.9
    return origin + t[:, None] * directions


def project(points: np.ndarray, iterations: int = 6) -> np.ndarray:
    """Nearby surface points [N, 3] of points [N, 3]: Newton steps along the gradient."""
    p = np.array(points, float)
    for _ in range(iterations):
        p -= 0.9 * np.clip(distance(p), -0.004, 0.004)[:, None] * gradient(p)
    return p


def drop(xy: np.ndarray, z: float = 0.115) -> np.ndarray:
    """First surface points [N, 3] met when falling along -z from (x, y, z), xy [N, 2]."""
    p = np.concatenate([xy, np.full((len(xy), 1), z)], 1)
    for _ in range(90):
        p[:, 2] -= np.clip(distance(p), 0, 0.02) * 0.8
    return p
