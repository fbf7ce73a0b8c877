"""Texture coordinates and region masks of the embedded head."""

from __future__ import annotations

import numpy as np

from zero1a_jax.flame.head_mesh import HeadMesh
from zero1a_jax.flame.head_parts import BALL_RINGS

# islands below the skin's: name -> centre (u, v) and half size
_ISLANDS = {
    "ball_left": (0.07, 0.07, 0.06),
    "ball_right": (0.21, 0.07, 0.06),
    "ear_left": (0.35, 0.07, 0.06),
    "ear_right": (0.49, 0.07, 0.06),
    "mouth": (0.63, 0.07, 0.06),
    "tongue": (0.77, 0.07, 0.06),
}
_SKIN_BOTTOM = 0.15


def _disc(name: str, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    u, v, half = _ISLANDS[name]
    return np.stack([u + half * radius * np.cos(angle), v + half * radius * np.sin(angle)], 1)


def texture_coordinates(mesh: HeadMesh) -> tuple[np.ndarray, np.ndarray]:
    """uv [U, 2] in 0..1 and uv_faces [F, 3].

    The skin unrolls around the vertical axis (u = 0.5 is the middle of the face, the seam runs down the
    back); eyeballs, ears, mouth pocket and tongue are discs and the teeth strips along the lower border.
    """
    x, y, z = mesh.plan.T
    u = 0.5 + np.arctan2(x, z + 0.02) / (2 * np.pi)
    v = np.arctan2(y, np.hypot(x, z + 0.02))
    skin = np.stack([0.04 + 0.92 * u, _SKIN_BOTTOM + 0.12 + 0.72 * (v + 1.12) / (1.12 + np.pi / 2)], 1)
    neck = mesh.group == "neck"  # the shoulders flare, so their rows are laid out by number
    top, share = skin[neck & (mesh.ring == 0), 1], mesh.ring[neck] / mesh.ring[neck].max()
    rows = len(share) // len(top)
    skin[neck, 1] = (1 - share) * np.tile(top, rows) + share * _SKIN_BOTTOM
    for side in ("left", "right"):  # lids' inner sides: the margin drawn together inside the opening
        eye = mesh.group == f"eye_{side}"
        margin = eye & (mesh.ring == 0)
        centre = skin[margin].mean(0)
        for ring, shrink in ((-1, 0.8), (-2, 0.6), (-3, 0.4)):
            skin[eye & (mesh.ring == ring)] = centre + shrink * (skin[margin] - centre)
        skin[eye & (mesh.ring == -9)] = centre
    uv, island = skin.copy(), np.zeros(len(x), int)  # island 0: the skin
    own = {}
    for name in _ISLANDS:
        member = mesh.group == name
        if name.startswith("ball"):
            radius = mesh.ring / BALL_RINGS
        elif name.startswith("ear"):
            radius = np.where(mesh.ring == -9, 0, 1 - mesh.ring / 10)
        elif name == "mouth":
            radius = np.where(mesh.ring > 0, 0, 1 + mesh.ring / 7)
            member &= mesh.ring <= 0
        else:
            radius = mesh.ring / 9
        own[name] = (member, _disc(name, radius, mesh.angle))
    for i, name in enumerate(("teeth_upper", "teeth_lower")):
        member = mesh.group == name
        strip = [0.92 + 0.07 * mesh.angle, 0.125 - 0.06 * i - 0.015 * mesh.ring]
        own[name] = (member, np.stack(strip, 1))
    faces = mesh.faces.copy()
    extra, count = [], len(uv)
    for name, (member, coords) in own.items():
        inside = member[mesh.faces].all(1)
        if name == "mouth":
            inside &= (mesh.ring[mesh.faces] < 0).any(1)
        ids = np.unique(mesh.faces[inside])
        fresh = np.zeros(len(x), int)
        fresh[ids] = count + np.arange(len(ids))
        faces[inside] = fresh[mesh.faces[inside]]
        extra.append(coords[ids])
        count += len(ids)
        island[ids] = 1
    return _cut_seam(np.concatenate([uv, *extra]), faces, mesh)


def _cut_seam(uv: np.ndarray, faces: np.ndarray, mesh: HeadMesh) -> tuple[np.ndarray, np.ndarray]:
    """Doubles the vertices of triangles that straddle the back of the head; drops unused coordinates."""
    faces = faces.copy()
    on_skin = (faces < len(mesh.vertices)).all(1)
    u = uv[faces, 0]
    straddles = on_skin & (u.max(1) - u.min(1) > 0.46)
    rows = list(uv)
    copies: dict[int, int] = {}
    for f in np.nonzero(straddles)[0]:
        for k in range(3):
            vertex = faces[f, k]
            if rows[vertex][0] < 0.5:
                if vertex not in copies:
                    copies[vertex] = len(rows)
                    rows.append(rows[vertex] + [0.92, 0.0])
                faces[f, k] = copies[vertex]
    used, faces = np.unique(faces, return_inverse=True)
    return np.clip(np.array(rows)[used], 0, 1), faces.reshape(-1, 3)


def region_masks(mesh: HeadMesh) -> dict[str, np.ndarray]:
    """FLAME's fourteen regions and the parts of our own, name to [V] bool; left is the subject's."""
    x, y, z = mesh.plan.T
    group, ring = mesh.group, mesh.ring
    m = {f"{side}_eyeball": group == f"ball_{side}" for side in ("left", "right")}
    m |= {f"{side}_ear": group == f"ear_{side}" for side in ("left", "right")}
    m |= {f"{side}_eye_region": group == f"eye_{side}" for side in ("left", "right")}
    outside = (ring >= 0) & (ring <= 3)
    m |= {f"{side}_eyelids": (group == f"eye_{side}") & outside for side in ("left", "right")}
    eyeballs = m["left_eyeball"] | m["right_eyeball"]
    m["iris"] = eyeballs & (ring <= 5)
    m["pupil"] = eyeballs & (ring <= 2)
    m["sclera"] = eyeballs & (ring >= 5)
    m["eyelids"] = m["left_eyelids"] | m["right_eyelids"]
    m["teeth_upper"], m["teeth_lower"], m["tongue"] = (
        group == n for n in ("teeth_upper", "teeth_lower", "tongue")
    )
    m["teeth"] = m["teeth_upper"] | m["teeth_lower"]
    m["lips"] = (group == "mouth") & (ring >= -1) & (ring <= 3)
    m["upper_lip"] = m["lips"] & (np.sin(mesh.angle) >= -1e-9)
    m["lower_lip"] = m["lips"] & (np.sin(mesh.angle) <= 1e-9)
    m["mouth_interior"] = (group == "mouth") & (ring < 0)
    m["boundary"] = (group == "neck") & (ring == ring[group == "neck"].max())
    under_jaw = (group == "free") & (y < -0.080 + 0.6 * np.clip(0.02 - z, 0, 0.08)) & (z < 0.03)
    m["neck"] = (group == "neck") | under_jaw
    m["shoulders"] = (group == "neck") & (ring >= 6)
    inner = ~eyeballs & ~m["teeth"] & ~m["tongue"] & ~m["mouth_interior"]
    skin = inner & ~m["neck"] & ~m["left_ear"] & ~m["right_ear"]
    hairline = 0.098 - 0.35 * np.clip(0.075 - z, 0, 1) - 0.9 * np.clip(np.abs(x) - 0.040, 0, 1)
    m["scalp"] = skin & (y > np.maximum(hairline, -0.045)) & ((z < 0.075) | (y > 0.09))
    m["face"] = skin & ~m["scalp"] & (z > 0.0)
    m["forehead"] = m["face"] & (y > 0.058)
    tip = (group == "free") & (np.abs(x) < 0.021) & (y < 0.030) & (y > -0.024)
    m["nose"] = m["face"] & tip & (z > 0.0825 - 0.10 * np.abs(x) - 0.10 * np.maximum(y, 0))
    m["eye_region"] = m["face"] & (y < 0.058) & (y > 0.008) & ~m["nose"]
    m["eye_region"] |= m["left_eye_region"] | m["right_eye_region"]
    brow = np.abs(y - 0.0500 + 6 * (np.abs(x) - 0.030) ** 2) < 0.0042
    m["left_brow"] = m["face"] & brow & (x > 0.012) & (x < 0.048)
    m["right_brow"] = m["face"] & brow & (x < -0.012) & (x > -0.048)
    return m
