"""The embedded head's identity shapes: smooth spatial fields, one standard deviation each."""

from __future__ import annotations

import numpy as np

from zero1a_jax.flame.head_rig import Rig, along, ramp, spot


def _blank(rig: Rig) -> np.ndarray:
    return np.zeros_like(rig.mesh.vertices)


def _pair(rig: Rig, centre, width) -> np.ndarray:
    x, y, z = centre
    return spot(rig, (x, y, z), width) + spot(rig, (-x, y, z), width)


def _skull(rig: Rig) -> dict[str, np.ndarray]:
    x, y, z = rig.mesh.plan.T
    none = np.zeros_like(x)
    s = {}
    s["faceWidth"] = np.stack([0.05 * x * ramp(y, -0.12, -0.05), none, none], 1)
    s["headHeight"] = along(ramp(y, 0.03, 0.14), (0, 0.009, 0))
    s["headDepth"] = np.stack([none, none, 0.07 * np.minimum(z, 0) * ramp(y, -0.05, 0.03)], 1)
    s["foreheadSlope"] = along(ramp(y, 0.06, 0.12) * ramp(z, 0, 0.06), (0, 0, -0.007))
    s["browRidge"] = along(spot(rig, (0, 0.051, 0.082), (0.045, 0.009, 0.02)), (0, -0.0004, 0.0024))
    bones = _pair(rig, (0.05, 0.004, 0.05), (0.016, 0.014, 0.022))
    s["cheekbones"] = np.stack([0.003 * np.sign(x) * bones, none, 0.0015 * bones], 1)
    jaw = np.exp(-(((y + 0.052) / 0.036) ** 2)) * ramp(z, -0.045, 0.03)
    s["jawWidth"] = np.stack([0.055 * x * jaw, none, none], 1)
    s["chinForward"] = along(spot(rig, (0, -0.082, 0.078), (0.022, 0.018, 0.022)), (0, 0, 0.004))
    s["chinLength"] = along(ramp(-y, 0.055, 0.090) * ramp(z, -0.01, 0.05), (0, -0.0045, 0))
    hollow = _pair(rig, (0.034, -0.022, 0.06), (0.016, 0.02, 0.02))
    s["cheekFullness"] = rig.normals * (0.0028 * hollow)[:, None]
    low = ramp(-y, 0.07, 0.12) * ramp(y, -0.20, -0.14)
    s["neckWidth"] = np.stack([0.055 * x * low, none, 0.055 * (z + 0.036) * low], 1)
    return s


def _features(rig: Rig) -> dict[str, np.ndarray]:
    mesh = rig.mesh
    x, y, z = mesh.plan.T
    none = np.zeros_like(x)
    s = {}
    s["noseLength"] = along(spot(rig, (0, -0.010, 0.100), (0.013, 0.013, 0.022)), (0, -0.0028, 0.0022))
    s["noseWidth"] = np.stack([0.16 * x * spot(rig, (0, -0.010, 0.092), (0.02, 0.012, 0.02)), none, none], 1)
    s["noseBridge"] = along(spot(rig, (0, 0.018, 0.090), (0.007, 0.018, 0.014)), (0, 0, 0.0026))
    s["noseTip"] = along(spot(rig, (0, -0.007, 0.104), (0.010, 0.010, 0.014)), (0, 0.0022, 0.0012))
    up, low = 1 - rig.lower, rig.lower
    lips = spot(rig, (0, -0.047, 0.087), (0.020, 0.010, 0.012))
    s["lipFullness"] = (
        along(lips, (0, 0, 0.0013))
        + along(spot(rig, (0, -0.0405, 0.088), (0.018, 0.004, 0.014)) * up, (0, 0.0011, 0.0002))
        + along(spot(rig, (0, -0.054, 0.087), (0.018, 0.005, 0.014)) * low, (0, -0.0012, 0.0002))
    )
    mouth = spot(rig, (0, -0.0468, 0.085), (0.027, 0.017, 0.024))
    s["mouthWidth"] = np.stack([0.0024 * np.clip(x / 0.024, -1.3, 1.3) * mouth, none, none], 1)
    s["mouthHeight"] = along(spot(rig, (0, -0.047, 0.085), (0.034, 0.015, 0.03)), (0, 0.0022, 0))
    s["eyeSpacing"] = _eye_shift(rig, (0.0013, 0, 0))
    s["eyeHeight"] = _eye_shift(rig, (0, 0.0016, 0))
    s["eyeDepth"] = _eye_shift(rig, (0, 0, 0.0014))
    brows = _pair(rig, (0.028, 0.051, 0.08), (0.018, 0.008, 0.025))
    s["browHeight"] = along(brows, (0, 0.0018, 0))
    s["earSize"] = _blank(rig)
    for side, name in ((1, "ear_left"), (-1, "ear_right")):
        q = mesh.vertices - np.array([side * 0.076, 0.012, -0.02])
        near = np.exp(-((q / [0.018, 0.034, 0.024]) ** 2).sum(1)) * (mesh.group == name)
        s["earSize"] += 0.16 * q * near[:, None]
    s["faceLength"] = np.stack([none, 0.035 * np.minimum(y - 0.03, 0) * ramp(y, -0.19, -0.11), none], 1)
    return s


def _eye_shift(rig: Rig, direction) -> np.ndarray:
    """Moves both orbits with their eyeballs rigidly; x is mirrored."""
    mesh = rig.mesh
    delta = _blank(rig)
    for side, name in ((1, "left"), (-1, "right")):
        weight = spot(rig, (side * 0.0315, 0.030, 0.072), (0.0125, 0.0115, 0.03))
        weight = np.maximum(weight, (mesh.group == f"eye_{name}") * np.interp(mesh.ring, [2, 6], [1, 0.6]))
        weight[mesh.group == f"ball_{name}"] = 1
        delta += along(weight, np.asarray(direction) * [side, 1, 1])
    return delta


def identity_shapes(rig: Rig) -> dict[str, np.ndarray]:
    """Name to displacement [V, 3] (metres at one standard deviation)."""
    shapes = {**_skull(rig), **_features(rig)}
    whole = ("faceWidth", "faceLength")
    return {name: _settle(rig, delta, whole=name in whole) for name, delta in shapes.items()}


def _settle(rig: Rig, delta: np.ndarray, whole: bool) -> np.ndarray:
    """Keeps an identity in order: eyeballs stay spheres, lids on them, lips closed, teeth behind the lips."""
    mesh = rig.mesh
    delta = delta.copy()
    for side in ("left", "right"):
        ball, lid = mesh.group == f"ball_{side}", mesh.group == f"eye_{side}"
        delta[ball] = delta[ball].mean(0)
        hold = np.interp(mesh.ring[lid], [-9, 1, 6], [1, 1, 0])[:, None]
        delta[lid] += hold * (delta[ball][0] - delta[lid]) * (0.0 if whole else 1.0)
    for ring in (0, -1):
        ids = np.nonzero((mesh.group == "mouth") & (mesh.ring == ring))[0]  # ordered by angle
        twin = ids[-np.arange(len(ids)) % len(ids)]  # on the other lip
        delta[ids] = 0.5 * (delta[ids] + delta[twin])
    if not whole:
        inner = np.isin(mesh.group, ["teeth_upper", "teeth_lower", "tongue"])
        delta[inner] = delta[(mesh.group == "mouth") & (mesh.ring == 0)].mean(0) * [0, 1, 1]
    return delta
