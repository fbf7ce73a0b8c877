"""The embedded head's 52 expression shapes, named and ordered as ARKit's.

Each is a linear displacement at coefficient 1, and they are meant to be added. `jawOpen` approximates the
rotation of the jaw joint by JAW_ANGLE (with lower teeth, tongue, mouth pocket and the jaw's corrective), and
`eyeLook*` the rotation of the eyeballs with their lids, so ARKit weights drive everything without joints;
joints give the same looks exactly. Use one or the other: they add up.
"""

from __future__ import annotations

import numpy as np

from zero1a_jax.flame.head_mesh import MIRROR
from zero1a_jax.flame.head_rig import (
    JAW,
    JAW_ANGLE,
    Rig,
    along,
    gaze_lids,
    jaw_corrective,
    lids,
    smooth,
    spot,
    turn,
)
from zero1a_jax.flame.head_surface import EYE

SIDES = (("Left", 1), ("Right", -1))
NAMES = (
    *(f"eye{k}{s}" for s in ("Left", "Right") for k in (
        "Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")),
    "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker",
    "mouthLeft", "mouthRight",
    *(f"mouth{k}{s}" for k in ("Smile", "Frown", "Dimple", "Stretch") for s in ("Left", "Right")),
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    *(f"mouth{k}{s}" for k in ("Press", "LowerDown", "UpperUp") for s in ("Left", "Right")),
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip


def _eyes(rig: Rig) -> dict[str, np.ndarray]:
    e = {}
    for name, s in SIDES:
        left = s > 0
        ball = (rig.mesh.group == ("ball_left" if left else "ball_right")).astype(float)
        centre = EYE if left else EYE * MIRROR
        # a lid cuts the corner on its straight way down, so the eyeball gives way to it
        e["eyeBlink" + name] = lids(rig, left, 1.0, 1.0) + along(ball, (0, 0, -0.0020))
        e["eyeWide" + name] = lids(rig, left, -0.30, -0.15)
        bag = spot(rig, (s * 0.033, 0.008, 0.07), (0.014, 0.008, 0.02))
        e["eyeSquint" + name] = lids(rig, left, 0.22, 0.85) + along(bag, (0, 0.0022, 0.0010))
        for look, axis, angle in (
            ("Down", (1, 0, 0), 0.32),
            ("Up", (1, 0, 0), -0.30),
            ("In", (0, 1, 0), -0.45 * s),
            ("Out", (0, 1, 0), 0.45 * s),
        ):
            delta = turn(rig, ball, centre, axis, angle)
            if axis[0]:
                delta += gaze_lids(rig, left, angle)
            e[f"eyeLook{look}{name}"] = delta
    return e


def _brows_cheeks_nose(rig: Rig) -> dict[str, np.ndarray]:
    e = {}
    puff = np.zeros(len(rig.skin))
    inner = np.zeros(len(rig.skin))
    for name, s in SIDES:
        brow = spot(rig, (s * 0.024, 0.051, 0.08), (0.014, 0.012, 0.025))
        e["browDown" + name] = along(brow, (-s * 0.0028, -0.0070, 0.0010))
        outer = spot(rig, (s * 0.042, 0.052, 0.07), (0.013, 0.015, 0.025))
        e["browOuterUp" + name] = along(outer, (0, 0.0075, 0))
        inner += spot(rig, (s * 0.014, 0.053, 0.085), (0.011, 0.014, 0.025))
        puff += spot(rig, (s * 0.040, -0.036, 0.054), (0.015, 0.018, 0.02))
        cheek = spot(rig, (s * 0.036, 0.006, 0.07), (0.016, 0.011, 0.02))
        e["cheekSquint" + name] = along(cheek, (0, 0.0048, 0.0022))
        wing = spot(rig, (s * 0.013, -0.004, 0.088), (0.008, 0.012, 0.018))
        e["noseSneer" + name] = along(wing, (s * 0.0006, 0.0048, 0.0004))
    e["browInnerUp"] = along(inner, (0, 0.0078, 0))
    e["cheekPuff"] = smooth(rig, rig.normals * (0.0175 * puff)[:, None], 6)
    return e


def _mouth_corners(rig: Rig) -> dict[str, np.ndarray]:
    e = {}
    up = 1 - rig.lower
    for name, s in SIDES:
        corner = spot(rig, (s * 0.027, -0.045, 0.075), (0.013, 0.014, 0.022))
        cheek = spot(rig, (s * 0.036, -0.012, 0.066), (0.015, 0.015, 0.02))
        e["mouthSmile" + name] = smooth(
            rig, along(corner, (s * 0.0095, 0.0090, -0.0055)) + along(cheek, (s * 0.001, 0.0045, 0.003))
        )
        low = spot(rig, (s * 0.026, -0.050, 0.075), (0.012, 0.013, 0.022))
        e["mouthFrown" + name] = smooth(rig, along(low, (s * 0.0025, -0.0085, -0.001)))
        wide = spot(rig, (s * 0.027, -0.050, 0.075), (0.012, 0.012, 0.022))
        e["mouthStretch" + name] = smooth(rig, along(wide, (s * 0.0085, -0.003, -0.004)))
        pit = spot(rig, (s * 0.028, -0.047, 0.075), (0.008, 0.009, 0.02))
        e["mouthDimple" + name] = smooth(rig, along(pit, (s * 0.004, 0.001, -0.005)))
        upper = spot(rig, (s * 0.012, -0.043, 0.088), (0.011, 0.011, 0.022)) * up
        e["mouthUpperUp" + name] = along(upper, (0, 0.0062, 0.0012))
        lower = spot(rig, (s * 0.012, -0.050, 0.086), (0.011, 0.010, 0.022)) * rig.lower
        e["mouthLowerDown" + name] = along(lower, (0, -0.0084, 0.0004))
        lip = spot(rig, (s * 0.013, -0.047, 0.086), (0.010, 0.007, 0.016))
        e["mouthPress" + name] = along(lip * up, (0, -0.0014, -0.0016)) + along(
            lip * rig.lower, (0, 0.0016, -0.0016)
        )
    return e


def _mouth_middle(rig: Rig) -> dict[str, np.ndarray]:
    e = {}
    x, y, _ = rig.mesh.plan.T
    up, low = 1 - rig.lower, rig.lower
    around = spot(rig, (0, -0.0468, 0.085), (0.027, 0.017, 0.024))
    side = np.clip(x / 0.024, -1.3, 1.3)
    centre = np.exp(-((x / 0.020) ** 2))
    e["mouthPucker"] = smooth(
        rig,
        np.stack([-0.0105 * side * around, -0.10 * (y + 0.0468) * around, 0.0085 * around * centre], 1),
        2,
    )
    apart = (0.0064 * up - 0.0078 * low) * around * np.exp(-((x / 0.026) ** 4))
    e["mouthFunnel"] = smooth(rig, np.stack([-0.0075 * side * around, apart, 0.0075 * around * centre], 1), 1)
    lower_lip = spot(rig, (0, -0.051, 0.087), (0.020, 0.006, 0.014)) * low
    upper_lip = spot(rig, (0, -0.042, 0.088), (0.020, 0.006, 0.014)) * up
    e["mouthRollLower"] = along(lower_lip, (0, 0.0034, -0.0050))
    e["mouthRollUpper"] = along(upper_lip, (0, -0.0030, -0.0045))
    chin = spot(rig, (0, -0.060, 0.082), (0.020, 0.013, 0.02)) * low
    e["mouthShrugLower"] = along(chin, (0, 0.0052, 0.0026))
    e["mouthShrugUpper"] = along(spot(rig, (0, -0.040, 0.088), (0.018, 0.009, 0.02)) * up, (0, 0.004, 0.0012))
    e["mouthLeft"], e["mouthRight"] = (along(around, (s * 0.0075, 0, -0.001)) for _, s in SIDES)
    return e


def _mouth_close(rig: Rig, opened: np.ndarray) -> np.ndarray:
    """Brings the lips together again at jawOpen = 1; the lower lip goes most of the way."""
    mesh = rig.mesh
    ids = np.nonzero(mesh.group == "mouth")[0]
    column = np.round(mesh.angle[ids] * 44 / (2 * np.pi)).astype(int) % 44
    margin = ids[mesh.ring[ids] == 0]  # ordered by angle
    gap = opened[margin] - opened[margin[-np.arange(44) % 44]]  # of a lip from the other one
    sine = np.sin(mesh.angle[ids])
    share = np.where(sine < 0, 0.72, 0.28) * np.interp(mesh.ring[ids], [-4, -2, 3, 6], [0, 1, 1, 0.35])
    delta = np.zeros_like(opened)
    delta[ids] = -gap[column] * share[:, None]
    chin = spot(rig, (0, -0.066, 0.082), (0.024, 0.012, 0.02)) * rig.lower * (mesh.group == "free")
    delta += along(chin, 0.5 * delta[margin[33]])
    return np.where((mesh.ring <= 2)[:, None], delta, smooth(rig, delta, 4))


def _jaw(rig: Rig) -> dict[str, np.ndarray]:
    w = rig.skinning[:, 2]
    opened = turn(rig, w, JAW, (1, 0, 0), JAW_ANGLE) + jaw_corrective(rig)
    tongue = (rig.mesh.group == "tongue").astype(float)
    forward = np.clip((rig.mesh.plan[:, 2] - 0.035) / 0.03, 0, 1)
    return {
        "jawOpen": opened,
        "mouthClose": _mouth_close(rig, opened),
        "jawForward": along(w, (0, 0, 0.006)),
        "jawLeft": along(w, (0.006, 0, 0)),
        "jawRight": along(w, (-0.006, 0, 0)),
        "tongueOut": along(tongue * forward, (0, 0.009, 0.036)),
    }


def expression_shapes(rig: Rig) -> dict[str, np.ndarray]:
    """Name to displacement [V, 3] (metres at coefficient 1), in ARKit's order."""
    mouth = {**_mouth_corners(rig), **_mouth_middle(rig), **_jaw(rig)}
    shapes = {**_eyes(rig), **_brows_cheeks_nose(rig), **mouth}
    return {name: shapes[name] for name in NAMES}
