"""Landmark embeddings of the embedded head: MediaPipe's 105, iBUG's 51 and its contour by yaw."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from zero1a_jax.flame import head_surface
from zero1a_jax.flame.head_mesh import HeadMesh
from zero1a_jax.flame.head_patches import LIP_LINE

# chains of MediaPipe's face mesh from the subject's right to the left
LEFT_EYE = {
    "upper": (362, 398, 384, 385, 386, 387, 388, 466, 263),
    "lower": (362, 382, 381, 380, 374, 373, 390, 249, 263),
}
RIGHT_EYE = {
    "upper": (33, 246, 161, 160, 159, 158, 157, 173, 133),
    "lower": (33, 7, 163, 144, 145, 153, 154, 155, 133),
}
OUTER_LIPS = {
    "upper": (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    "lower": (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
}
INNER_LIPS = {
    "upper": (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    "lower": (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
}
# where MediaPipe sees them: share of the way along the lid (inner to outer corner) or from the middle of
# the mouth to its corner, and front-view positions (x, y) in millimetres on the subject's left
_LID_UPPER = (0.0, 0.09, 0.22, 0.37, 0.52, 0.68, 0.82, 0.93, 1.0)
_LID_LOWER = (0.0, 0.09, 0.22, 0.37, 0.52, 0.68, 0.82, 0.93, 1.0)
_LIP_OUTER_UPPER = (0.0, 0.22, 0.46, 0.68, 0.86, 1.0)
_LIP_OUTER_LOWER = (0.0, 0.24, 0.48, 0.70, 0.87, 1.0)
_LIP_INNER = (0.0, 0.22, 0.44, 0.66, 0.84, 1.0)
_MIDDLE = {168: 26.0, 6: 19.0, 197: 11.0, 195: 4.0, 5: -2.0, 4: -8.0, 2: -19.0}  # y only
_LEFT = {
    326: (5.0, -17.5), 327: (10.5, -16.0), 358: (15.5, -10.0),
    336: (11.0, 53.0), 296: (20.0, 57.0), 334: (30.0, 57.5), 293: (39.5, 55.5), 300: (48.0, 49.0),
    285: (12.0, 47.0), 295: (20.5, 50.0), 282: (30.0, 51.5), 283: (39.0, 50.0), 276: (47.5, 45.5),
}  # fmt: skip
_MIRRORED = {
    326: 97, 327: 98, 358: 129, 336: 107, 296: 66, 334: 105, 293: 63, 300: 70,
    285: 55, 295: 65, 282: 52, 283: 53, 276: 46,
}  # fmt: skip
# iBUG 17..67 among MediaPipe's points
IBUG = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14, 178,
)  # fmt: skip
_CONTOUR_CENTRE = np.array([0.0, -0.010, 0.020])


def closest(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray, allowed: np.ndarray):
    """Face ids [P] and barycentrics [P, 3] of the nearest places to points among faces allowed [F] bool."""
    ids = np.nonzero(allowed)[0]
    corners = vertices[faces[ids]]
    _, near = cKDTree(corners.mean(1)).query(points, k=min(24, len(ids)))
    a, b, c = (corners[near, i] for i in range(3))
    u, v, w = b - a, c - a, points[:, None] - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    scale = np.maximum(uu * vv - uv * uv, 1e-18)
    beta, gamma = (vv * wu - uv * wv) / scale, (uu * wv - uv * wu) / scale
    bary = np.clip(np.stack([1 - beta - gamma, beta, gamma], -1), 0, None)
    bary /= bary.sum(-1, keepdims=True)
    place = (bary[..., None] * corners[near]).sum(-2)
    best = np.linalg.norm(place - points[:, None], axis=-1).argmin(1)
    row = np.arange(len(points))
    return ids[near[row, best]].astype(np.int32), bary[row, best]


class _Table:
    """Collects (MediaPipe index, face, barycentrics)."""

    def __init__(self, mesh: HeadMesh):
        self.mesh, self.rows = mesh, {}

    def put(self, indices, points, allowed):
        faces, bary = closest(self.mesh.vertices, self.mesh.faces, np.asarray(points), allowed)
        for i, f, b in zip(indices, faces, bary, strict=True):
            self.rows.setdefault(int(i), (f, b))

    def half_ring(self, indices, group, ring, upper, x):
        """Puts points where the upper or lower half of a ring passes the given x [n]."""
        mesh = self.mesh
        side = np.sin(mesh.angle) * (1 if upper else -1) > -1e-9
        on = np.nonzero((mesh.group == group) & (mesh.ring == ring) & side)[0]
        on = on[np.argsort(mesh.vertices[on, 0])]
        line = mesh.vertices[on]
        x = np.clip(x, line[0, 0], line[-1, 0])
        points = np.stack([np.interp(x, line[:, 0], line[:, k]) for k in range(3)], 1)
        member = (mesh.group == group) & np.isin(mesh.ring, [ring, ring + 1]) & side
        self.put(indices, points, member[mesh.faces].all(1))


def mediapipe(mesh: HeadMesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices [105], faces [105], barycentrics [105, 3], sorted by MediaPipe's index."""
    table = _Table(mesh)
    for chains, group, sign in ((LEFT_EYE, "eye_left", 1), (RIGHT_EYE, "eye_right", -1)):
        lid = mesh.vertices[(mesh.group == group) & (mesh.ring == 0), 0]
        inner, outer = (lid.min(), lid.max()) if sign > 0 else (lid.max(), lid.min())
        for half, shares in (("upper", _LID_UPPER), ("lower", _LID_LOWER)):
            x = inner + (outer - inner) * np.array(shares)
            table.half_ring(chains[half][::sign], group, 0, half == "upper", x)
    for chains, ring, upper_shares, lower_shares in (
        (OUTER_LIPS, 3, _LIP_OUTER_UPPER, _LIP_OUTER_LOWER), (INNER_LIPS, 0, _LIP_INNER, _LIP_INNER),
    ):
        reach = mesh.vertices[(mesh.group == "mouth") & (mesh.ring == ring), 0].max()
        for half, shares in (("upper", upper_shares), ("lower", lower_shares)):
            x = reach * np.concatenate([-1 + np.array(shares), (1 - np.array(shares))[-2::-1]])
            table.half_ring(chains[half], "mouth", ring, half == "upper", x)
    skin = np.isin(mesh.group, ["free", "eye_left", "eye_right", "mouth"]) & (mesh.ring >= 0)
    front = skin[mesh.faces].all(1)
    points = {i: (0.0, y) for i, y in _MIDDLE.items()} | _LEFT
    points |= {_MIRRORED[i]: (-x, y) for i, (x, y) in _LEFT.items()}
    table.put(points, head_surface.drop(1e-3 * np.array(list(points.values()))), front)
    order = sorted(table.rows)
    if len(order) != 105:
        raise ValueError(f"the embedding has {len(order)} points instead of 105; complete the tables")
    faces, bary = zip(*(table.rows[i] for i in order), strict=True)
    return np.array(order, np.int32), np.array(faces, np.int32), np.array(bary)


def static51(indices, faces, barycentrics) -> tuple[np.ndarray, np.ndarray]:
    """iBUG 17..67 picked from MediaPipe's embedding."""
    row = {int(i): k for k, i in enumerate(indices)}
    pick = [row[i] for i in IBUG]
    return faces[pick], barycentrics[pick]


def contour(mesh: HeadMesh) -> tuple[np.ndarray, np.ndarray]:
    """Faces [79, 17] and barycentrics [79, 17, 3] of iBUG's 0..16 by row of head yaw (spec of FLAME's LUT).

    Row 0 follows the jaw from the subject's right ear to the left one. In the other rows each point slides
    along the face, in the plane through its place and the face's axis, to where the turned face ends in
    the image.
    """
    theta = np.deg2rad(np.linspace(156, 384, 17))
    outward = np.stack([np.cos(theta), np.sin(theta)], 1)
    phi = np.deg2rad(np.linspace(20, 125, 106))
    rays = np.zeros((17, len(phi), 3))
    rays[..., :2] = np.sin(phi)[None, :, None] * outward[:, None]
    rays[..., 2] = np.cos(phi)
    profile = head_surface.trace(_CONTOUR_CENTRE, rays.reshape(-1, 3), 0.14).reshape(rays.shape)
    radius = ((profile[..., :2] - _CONTOUR_CENTRE[:2]) * outward[:, None]).sum(-1)
    rest = (radius + 0.35 * profile[..., 2]).argmax(1)
    rows = []
    for row in range(79):
        yaw = np.deg2rad(row if row <= 39 else 39 - row)  # the LUT's yaw; the head turns by its negative
        x = profile[..., 0] * np.cos(yaw) - profile[..., 2] * np.sin(yaw)
        reach = x * outward[:, :1] + profile[..., 1] * outward[:, 1:] + 0.15 * profile[..., 2]
        reach = np.where(np.arange(len(phi)) <= rest[:, None], reach, -np.inf)
        pick = rest if row == 0 else reach.argmax(1)
        pick = np.where(np.abs(outward[:, 0]) < 0.2, rest, pick)  # the chin stays
        rows.append(profile[np.arange(17), pick])
    skin = np.isin(mesh.group, ["free", "mouth", "eye_left", "eye_right"]) & (mesh.ring >= 0)
    faces, bary = closest(
        mesh.vertices, mesh.faces, np.array(rows).reshape(-1, 3), skin[mesh.faces].all(1)
    )
    return faces.reshape(79, 17), bary.reshape(79, 17, 3)


def mouth_line(x: np.ndarray) -> np.ndarray:
    """Height [N] of the closed mouth at x [N]."""
    return LIP_LINE - 0.0008 * np.clip(np.abs(x) / 0.0236, 0, 1) ** 2
