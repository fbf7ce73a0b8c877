"""Rings of vertices around eyes, mouth, ears and neck of the embedded head.

The rest of the skin is triangulated freely; these patches are ordered, since lids, lips and ears need edge
loops. Every function returns a list of rings [n, 3] (metres), all counter-clockwise seen from outside, for
the subject's left side (+x) where there are two. Ring numbers count outwards from the opening; negative
numbers go into it.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from zero1a_jax.flame.head_surface import EYE, EYE_RADIUS, drop, gradient, project
from zero1a_jax.flame.head_surface import distance as surface_distance

EYE_ANGLES = np.arange(32) * 2 * np.pi / 32
MOUTH_ANGLES = np.arange(44) * 2 * np.pi / 44
EAR_ANGLES = np.arange(28) * 2 * np.pi / 28
NECK_ANGLES = np.arange(40) * 2 * np.pi / 40
MOUTH_REACH = 0.0240  # half width of the mouth
# half heights of the vermilion at shares of the way from the middle of the mouth to its corner
_LIP_SHARE = [0, 0.14, 0.28, 0.45, 0.65, 0.85, 1.0]
_UPPER_LIP = PchipInterpolator(_LIP_SHARE, [0.0068, 0.0077, 0.0083, 0.0074, 0.0052, 0.0023, 0.0])
_LOWER_LIP = PchipInterpolator(_LIP_SHARE, [0.0102, 0.0101, 0.0097, 0.0086, 0.0062, 0.0028, 0.0])


def mouth_line(x: np.ndarray) -> np.ndarray:
    """Height (metres) where the closed lips meet, at x: corners a little up, a dip in the middle."""
    share = np.clip(np.abs(x) / MOUTH_REACH, 0, 1.3)
    return -0.0466 + 0.0013 * share**2 - 0.0006 * np.exp(-((share / 0.22) ** 2))


def unit(v: np.ndarray) -> np.ndarray:
    """Vectors [..., 3] scaled to length 1."""
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def power(s: np.ndarray, exponent: float) -> np.ndarray:
    """|s|^exponent with the sign of s."""
    return np.sign(s) * np.abs(s) ** exponent


def eye_rings() -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Rings of the lids: outwards from the margin, inwards behind the lids, and the pole behind the ball."""
    cos, sin = np.cos(EYE_ANGLES), np.sin(EYE_ANGLES)
    x = 0.0150 * cos
    y = np.where(sin >= 0, 0.0066 * (1 - 0.12 * cos), 0.0055 * (1 + 0.10 * cos)) * power(sin, 1.05)
    almond = np.stack([x, y + 0.07 * x], -1)
    outer = []
    for k, scale in enumerate([1.0, 1.07, 1.17, 1.32, 1.52, 1.80, 2.15]):
        xy = EYE[:2] + almond * [scale**0.75, scale**1.25] + [0, 0.0005 * k]
        skin = drop(xy)
        ring = skin
        if k <= 1:  # the margin lies just off the eyeball, except at the two corners
            ring = EYE + unit(skin - EYE) * (EYE_RADIUS + (0.0009 if k == 0 else 0.0016))
            corner = np.abs(almond[:, :1]) > 0.0119
            ring = np.where(corner, 0.5 * ring + 0.5 * skin, ring)
        if k == 3:  # the crease of the upper lid
            ring = ring - gradient(ring) * (0.0011 * np.maximum(sin, 0) ** 0.5)[:, None]
        outer.append(ring)
    q = outer[0] - EYE
    inner = [
        EYE + unit(q) * (EYE_RADIUS + 0.0001),
        EYE + unit(q * [1.05, 1.25, 0.55]) * (EYE_RADIUS + 0.0008),
        EYE + unit(q * [1, 1.2, -0.2] + [0, 0, -0.003]) * (EYE_RADIUS + 0.0012),
    ]
    return outer, inner, EYE + [0, 0, -EYE_RADIUS - 0.0015]


def mouth_rings() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Rings of the lips: outwards from the slit, and inwards along the pocket behind them."""
    cos, sin = np.cos(MOUTH_ANGLES), np.sin(MOUTH_ANGLES)

    share, sign = np.abs(cos), np.sign(np.where(np.abs(sin) < 1e-9, 0, sin))

    def loop(half_width, vermilion, beyond):
        lip = np.where(sign >= 0, _UPPER_LIP(share), 1.0 * _LOWER_LIP(share))
        x = half_width * cos
        return np.stack([x, mouth_line(x) + sign * vermilion * lip + beyond * power(sin, 0.9)], -1)

    shapes = [  # half width, share of the vermilion, distance beyond it
        (MOUTH_REACH, 0.006, 0.0),
        (MOUTH_REACH + 0.0004, 0.32, 0.0002),
        (MOUTH_REACH + 0.0008, 0.68, 0.0003),
        (MOUTH_REACH + 0.0013, 1.00, 0.0004),
        (MOUTH_REACH + 0.0026, 1.10, 0.0020),
        (MOUTH_REACH + 0.0048, 1.22, 0.0045),
        (MOUTH_REACH + 0.0080, 1.32, 0.0085),
    ]
    outer = [drop(loop(*s)) for s in shapes]
    outer[0][:, 2] = np.minimum(outer[0][:, 2], outer[1][:, 2] - 0.0009 * np.abs(sin) ** 0.5)

    def pocket(depth, half_width, height, y):
        return np.stack([half_width * cos, y + height * power(sin, 0.8), 0.0775 - depth - 0.010 * cos**2], 1)

    r = outer[0]
    flat = np.zeros_like(sin)
    inner = [
        r + np.stack([-0.02 * r[:, 0], 0.00005 * sign, flat - 0.0030], 1),
        r + np.stack([-0.05 * r[:, 0], 0.0070 * power(sin, 0.6), flat - 0.0066], 1),
        pocket(0.012, 0.0255, 0.0125, -0.047),
        pocket(0.026, 0.0245, 0.0165, -0.048),
        pocket(0.042, 0.0170, 0.0125, -0.050),
    ]
    return outer, inner


def ear_rings() -> tuple[list[np.ndarray], np.ndarray]:
    """Rings of the ear: from where it meets the head over the rim into the concha, and the pole in it."""
    cos, sin = np.cos(EAR_ANGLES), np.sin(EAR_ANGLES)
    yaw, tilt = np.deg2rad(22), np.deg2rad(10)
    normal = unit(np.array([np.cos(yaw), 0, 0.6 * np.sin(yaw)]))
    back0 = unit(np.cross([0, 1, 0], normal))
    up0 = np.array([0, 1.0, 0])
    b1 = np.cos(tilt) * back0 - np.sin(tilt) * up0  # towards the back of the head
    b2 = np.sin(tilt) * back0 + np.cos(tilt) * up0
    origin = project(np.array([[0.072, 0.010, -0.016]]), 20)[0]
    back = np.clip((cos + 0.62) / 0.75, 0, 1)
    back = (back * back * (3 - 2 * back))[:, None]  # 1 around the rim, 0 where the ear meets the cheek
    lobe = 1 - 0.30 * np.maximum(-sin, 0) ** 1.5

    def oval(scale, height, shift=0.0):
        height = np.broadcast_to(height, cos.shape)
        along = 0.0090 + shift + 0.0158 * lobe * scale * cos
        return origin + along[:, None] * b1 + (0.0305 * scale * sin)[:, None] * b2 + height[:, None] * normal

    base = project(origin + (0.0035 + 0.0115 * cos)[:, None] * b1 + (0.0265 * sin)[:, None] * b2, 30)
    flare = 0.0050 + 0.0060 * np.clip(cos, 0, 1) + 0.0020 * np.clip(sin, 0, 1)
    front = base + 0.0015 * normal

    def mix(a, b):
        return a * (1 - back) + b * back

    folds = np.clip((sin + 0.85) / 0.4, 0, 1)  # none in the lobe
    tragus = np.exp(-(((sin + 0.10) / 0.30) ** 2))
    rings = [
        base,
        mix(base + 0.0004 * normal, 0.45 * base + 0.55 * oval(0.88, flare - 0.0035) - 0.0010 * normal),
        mix(front, oval(1.0, flare)),
        mix(front + 0.0012 * b1 + 0.0008 * normal, oval(0.95, flare + 0.0028)),
        mix(oval(0.84, 0.0032), oval(0.84, flare + 0.0014)),
        mix(oval(0.73, 0.0040 + 0.0020 * tragus, -0.0005), oval(0.74, flare + 0.0010 - 0.0045 * folds)),
        mix(oval(0.57, 0.0030 + 0.0052 * tragus, 0.0010), oval(0.58, flare + 0.0006 + 0.0018 * folds)),
        mix(oval(0.42, 0.0030 * tragus, 0.0014), oval(0.44, flare - 0.0045 - 0.0030 * folds)),
        mix(oval(0.26, -0.0050, 0.001), oval(0.30, -0.0060)),
    ]
    return rings, origin + 0.0075 * b1 - 0.0075 * normal


def neck_cut(z: np.ndarray) -> np.ndarray:
    """Height of the neck's first ring at z: it follows the jaw, low in front and high at the nape."""
    return -0.094 - 0.019 * np.clip((z + 0.036) / 0.05, -1, 1)


def neck_rings() -> list[np.ndarray]:
    """Rings from the neck down over the shoulders; angle 0 looks along +z, pi/2 along +x. Open below."""
    sin, cos = np.sin(NECK_ANGLES), np.cos(NECK_ANGLES)
    top = neck_cut(-0.036 + 0.05 * cos)
    rings = []
    for share in (0.0, 0.33, 0.67, 1.0):
        y = (1 - share) * top - 0.127 * share
        ring = np.stack([0.05 * sin, y, -0.036 + 0.05 * cos], 1)
        for _ in range(60):
            step = gradient(ring)
            step[:, 1] = 0
            ring -= 0.7 * surface_distance(ring)[:, None] * step
        rings.append(ring)
    last = rings[-1]
    # half width, half depth, centre z and height of the following rings: neck, collar, shoulders
    profile = [
        (0.055, 0.052, -0.036, -0.136),
        (0.059, 0.054, -0.036, -0.145),
        (0.069, 0.058, -0.036, -0.154),
        (0.088, 0.063, -0.036, -0.165),
        (0.112, 0.069, -0.036, -0.177),
        (0.138, 0.075, -0.036, -0.192),
        (0.162, 0.082, -0.036, -0.226),
    ]
    for k, (width, depth, z, height) in enumerate(profile):
        ellipse = np.stack([width * sin, np.full_like(sin, height), z + depth * cos], 1)
        # the chest and the back lie lower than the shoulders
        ellipse[:, 1] -= 0.10 * (width - 0.056) * np.abs(cos) ** 2 * (1 if k else 0)
        blend = min(1.0, 0.45 * (k + 1))
        carried = last * [1, 0, 1] + [0, height, 0]
        rings.append((1 - blend) * carried + blend * ellipse)
    return rings
