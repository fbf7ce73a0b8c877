"""Landmark embeddings of the embedded head: MediaPipe's 105, iBUG's 51 and its contour by yaw."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from zero1a_jax.flame import head_surface
from zero1a_jax.flame.head_landmark_table import LEFT, MIDDLE
from zero1a_jax.flame.head_mesh import HeadMesh

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
# iBUG 17..67 among MediaPipe's points
IBUG = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14, 178,
)  # fmt: skip
_CONTOUR_CENTRE = np.array([0.0, -0.010, 0.020])


def closest(
    vertices: np.ndarray, faces: np.ndarray, points: np.ndarray, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Face ids [P] and barycentrics [P, 3] of the nearest places to points among faces allowed [F] bool."""
    ids = np.nonzero(allowed)[0]
    corners = vertices[faces[ids]]
    _, near = KDTree(corners.mean(1)).query(points, k=min(24, len(ids)))
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
    row, near = np.arange(len(points)), np.asarray(near)
    return ids[near[row, best]].astype(np.int32), bary[row, best]


class _Table:
    """Collects (MediaPipe index, face, barycentrics)."""

    def __init__(self, mesh: HeadMesh):
        self.mesh, self.rows = mesh, {}

    def put(self, indices, points, allowed):
        faces, bary = closest(self.mesh.plan, self.mesh.faces, np.asarray(points), allowed)
        for i, f, b in zip(indices, faces, bary, strict=True):
            self.rows.setdefault(int(i), (f, b))

    def half_ring(self, indices, group, ring, upper, x):
        """Puts points where the upper or lower half of a ring passes the given x [n]."""
        mesh = self.mesh
        side = np.sin(mesh.angle) * (1 if upper else -1) > -1e-9
        on = np.nonzero((mesh.group == group) & (mesh.ring == ring) & side)[0]
        on = on[np.argsort(mesh.plan[on, 0])]
        line = mesh.plan[on]
        x = np.clip(x, line[0, 0], line[-1, 0])
        points = np.stack([np.interp(x, line[:, 0], line[:, k]) for k in range(3)], 1)
        member = (mesh.group == group) & np.isin(mesh.ring, [ring, ring + 1]) & side
        self.put(indices, points, member[mesh.faces].all(1))


def mediapipe(mesh: HeadMesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices [105], faces [105], barycentrics [105, 3], sorted by MediaPipe's index.

    The points of the table are dropped on the skin; lids and inner lips use only their x and stay on the
    margin, so that they open and close with it.
    """
    table = _Table(mesh)
    place = {i: (0.0, y) for i, y in MIDDLE.items()}
    for left, (right, x, y) in LEFT.items():
        place[left], place[right] = (x, y), (-x, y)

    def at(indices):
        return 1e-3 * np.array([place[i] for i in indices])

    for chains, group in ((LEFT_EYE, "eye_left"), (RIGHT_EYE, "eye_right"), (INNER_LIPS, "mouth")):
        for half, indices in chains.items():
            table.half_ring(indices, group, 0, half == "upper", at(indices)[:, 0])
    for half, indices in OUTER_LIPS.items():
        sign = 1 if half == "upper" else -1
        lip = (mesh.group == "mouth") & (mesh.ring >= 0) & (sign * np.sin(mesh.angle) > -1e-9)
        table.put(indices, head_surface.drop(at(indices)), lip[mesh.faces].all(1))
    skin = np.isin(mesh.group, ["free", "eye_left", "eye_right", "mouth"]) & (mesh.ring >= 0)
    rest = [i for i in place if i not in table.rows]
    table.put(rest, head_surface.drop(at(rest)), skin[mesh.faces].all(1))
    order = sorted(table.rows)
    if len(order) != 105:
        raise ValueError(f"the embedding has {len(order)} points instead of 105; complete the table")
    faces, bary = zip(*(table.rows[i] for i in order), strict=True)
    return np.array(order, np.int32), np.array(faces, np.int32), np.array(bary)


def static51(
    indices: np.ndarray, faces: np.ndarray, barycentrics: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
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
    edge = radius + (0.02 + 0.33 * outward[:, 1:] ** 2) * profile[..., 2]
    fallen = np.maximum.accumulate(edge, 1) - edge > 0.0025  # past the jaw's edge: under the chin, the neck
    edge = np.where(np.maximum.accumulate(fallen, 1), -np.inf, edge)
    rest = edge.argmax(1)
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
        mesh.plan, mesh.faces, np.array(rows).reshape(-1, 3), np.asarray(skin[mesh.faces].all(1))
    )
    return faces.reshape(79, 17), bary.reshape(79, 17, 3)
