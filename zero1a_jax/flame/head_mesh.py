"""Triangulates the embedded head: ordered patches, a free triangulation between them, loose parts.

The free skin is a Poisson-like sample of the surface, denser where the face is finely shaped, triangulated
by the convex hull of its directions from inside the head (a spherical Delaunay triangulation) and relaxed
on the surface. Deterministic; mirror-symmetric up to the triangulation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.spatial import ConvexHull

from zero1a_jax.flame import head_parts, head_patches, head_surface
from zero1a_jax.flame.head_patches import EAR_ANGLES, EYE_ANGLES, MOUTH_ANGLES, NECK_ANGLES, unit

CENTRE = np.array([0, -0.002, 0.004])  # the skin between the patches is star-shaped around it
MIRROR = np.array([-1.0, 1.0, 1.0])
POLE = -9  # ring number of the single vertex that closes an opening


class HeadMesh(NamedTuple):
    """Vertices with the place of each in the construction."""

    vertices: np.ndarray  # [V, 3], the head
    plan: np.ndarray  # [V, 3], where they lie before `proportion`; the rig's regions are measured here
    faces: np.ndarray  # [F, 3]
    group: np.ndarray  # [V] str: free, eye_left, mouth, ear_right, neck, ball_left, teeth_upper, tongue...
    ring: np.ndarray  # [V] int: ring within the group, 0 at the opening, negative inside
    angle: np.ndarray  # [V] radians along the ring (teeth: -1..1 along the arch)


class _Builder:
    """Collects labelled vertices and faces."""

    def __init__(self):
        self.blocks, self.faces, self.group, self.ring, self.angle = [], [], [], [], []
        self.count = 0

    def add(self, points, group: str, ring, angle) -> np.ndarray:
        points = np.asarray(points, float)
        ids = np.arange(self.count, self.count + len(points))
        self.count += len(points)
        self.blocks.append(points)
        self.group += [group] * len(points)
        self.ring.append(np.broadcast_to(ring, len(points)))
        self.angle.append(np.broadcast_to(angle, len(points)))
        return ids

    def strip(self, outer, inner, reverse=False):
        a, b = outer, np.roll(outer, -1)
        c, d = np.roll(inner, -1), inner
        self._faces(np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]), reverse)

    def fan(self, ring, pole, reverse=False):
        self._faces(np.stack([ring, np.roll(ring, -1), np.full_like(ring, pole)], 1), reverse)

    def _faces(self, faces, reverse=False):
        self.faces.append(faces[:, ::-1] if reverse else faces)

    def part(self, part: head_parts.Part, group: str, mirror=False):
        points, faces, row, column = part
        ids = self.add(points * (MIRROR if mirror else 1), group, row, column)
        self._faces(faces + ids[0], mirror)

    def vertices(self) -> np.ndarray:
        return np.concatenate(self.blocks)


def _put_eye(builder: _Builder, left: bool) -> np.ndarray:
    outer, inner, pole = head_patches.eye_rings()
    side, name = (1, "eye_left") if left else (-1, "eye_right")
    m = np.array([side, 1, 1.0])
    rings = [builder.add(p * m, name, k, EYE_ANGLES) for k, p in enumerate(outer)]
    inside = [builder.add(p * m, name, -1 - k, EYE_ANGLES) for k, p in enumerate(inner)]
    end = builder.add([pole * m], name, POLE, 0.0)[0]
    chain = rings[::-1] + inside
    for a, b in zip(chain, chain[1:], strict=False):
        builder.strip(a, b, not left)
    builder.fan(chain[-1], end, not left)
    return rings[-1]


def _put_ear(builder: _Builder, left: bool) -> np.ndarray:
    points, pole = head_patches.ear_rings()
    side, name = (1, "ear_left") if left else (-1, "ear_right")
    m = np.array([side, 1, 1.0])
    rings = [builder.add(p * m, name, k, EAR_ANGLES) for k, p in enumerate(points)]
    end = builder.add([pole * m], name, POLE, 0.0)[0]
    for a, b in zip(rings, rings[1:], strict=False):
        builder.strip(a, b, not left)
    builder.fan(rings[-1], end, not left)
    return rings[0]


def _put_mouth(builder: _Builder) -> np.ndarray:
    outer, inner = head_patches.mouth_rings()
    rings = [builder.add(p, "mouth", k, MOUTH_ANGLES) for k, p in enumerate(outer)]
    inside = [builder.add(p, "mouth", -1 - k, MOUTH_ANGLES) for k, p in enumerate(inner)]
    chain = rings[::-1] + inside
    for a, b in zip(chain, chain[1:], strict=False):
        builder.strip(a, b)
    last, n = inside[-1], len(MOUTH_ANGLES)
    throat = []  # the flat end of the pocket, upper row zipped to the lower one
    for j in range(n // 2):
        below, below_next = last[-j % n], last[(-j - 1) % n]
        if j > 0:
            throat.append((last[j], last[j + 1], below))
        if j + 1 < n // 2:
            throat.append((last[j + 1], below_next, below))
    builder._faces(np.array(throat))
    return rings[-1]


def _put_neck(builder: _Builder) -> np.ndarray:
    rings = [builder.add(p, "neck", k, NECK_ANGLES) for k, p in enumerate(head_patches.neck_rings())]
    for a, b in zip(rings, rings[1:], strict=False):
        builder.strip(a, b, True)
    return rings[0]


def edge_length(points: np.ndarray) -> np.ndarray:
    """Wanted edge length [N] (metres) at surface points [N, 3]."""
    spots = [  # centre, width, how much shorter there
        ((0, -0.012, 0.095), 0.017, 0.0056),
        ((0.010, -0.012, 0.092), 0.010, 0.0020),
        ((0.0315, 0.030, 0.075), 0.018, 0.0036),
        ((0, -0.047, 0.085), 0.026, 0.0038),
        ((0.074, 0.010, -0.018), 0.030, 0.0030),
        ((0, 0.030, 0.085), 0.020, 0.0030),
        ((0.025, 0.048, 0.080), 0.018, 0.0030),
        ((0, -0.080, 0.075), 0.025, 0.0020),
        ((0.030, -0.020, 0.075), 0.020, 0.0020),
    ]
    q = points * [1.0, 1.0, 1.0]
    q[:, 0] = np.abs(q[:, 0])
    length = np.full(len(q), 0.0092)
    for centre, width, less in spots:
        length -= less * np.exp(-((q - centre) ** 2).sum(1) / (2 * width**2))
    return np.maximum(length, 0.0027)


def _inside(ring: np.ndarray):
    """A test whether a point lies within a nearly flat, star-shaped ring (3 % margin)."""
    centre = ring.mean(0)
    spokes = ring - centre
    normal = unit(np.cross(spokes, np.roll(spokes, -1, 0)).sum(0))
    u = unit(spokes[0] - (spokes[0] @ normal) * normal)
    w = np.cross(normal, u)
    angle = np.arctan2(spokes @ w, spokes @ u)
    order = np.argsort(angle)
    angle, radius = angle[order], np.hypot(spokes @ u, spokes @ w)[order]

    def test(p):
        d = p - centre
        x, y = d @ u, d @ w
        limit = 1.03 * np.interp(np.arctan2(y, x), angle, radius, period=2 * np.pi)
        return abs(d @ normal) < 0.02 and np.hypot(x, y) < limit

    return test


def _free_points(borders: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Free skin vertices: on the mid-plane, and on the left half (to be mirrored)."""
    rng = np.random.default_rng(0)
    n = 70000
    i = np.arange(n) + 0.5
    polar, azimuth = np.arccos(1 - 2 * i / n), np.pi * (1 + 5**0.5) * i
    rays = np.stack([np.cos(azimuth) * np.sin(polar), np.cos(polar), np.sin(azimuth) * np.sin(polar)], 1)
    samples = head_surface.trace(CENTRE, rays[rays[:, 0] >= -1e-9])
    samples = head_surface.project(samples[samples[:, 1] > head_patches.neck_cut(samples[:, 2]) + 0.0045], 2)
    length = edge_length(samples)
    cell, grid = 0.0095, {}

    def put(p):
        grid.setdefault(tuple(np.floor(p / cell).astype(int)), []).append(p)

    def crowded(p, radius):
        x, y, z = np.floor(p / cell).astype(int)
        for key in ((x + a, y + b, z + c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)):
            for q in grid.get(key, ()):
                if (q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2 + (q[2] - p[2]) ** 2 < radius * radius:
                    return True
        return False

    for ring in borders:
        for p in ring:
            put(p)
    tests = [_inside(ring) for ring in borders[:-1]]  # the neck's ring bounds by height alone
    middle = np.abs(samples[:, 0]) < 0.0012
    order = np.argsort(length + rng.random(len(length)) * 0.0003)
    mids, sides = [], []
    for pool, kept in ((order[middle[order]], mids), (order[~middle[order]], sides)):
        for j in pool:
            p = samples[j].copy()
            if kept is mids:
                p[0] = 0
            elif p[0] < 0.45 * length[j]:
                continue
            if crowded(p, 0.84 * length[j]) or any(test(p) for test in tests):
                continue
            put(p)
            kept.append(p)
    mids = head_surface.project(np.array(mids), 3)
    mids[:, 0] = 0
    return mids, head_surface.project(np.array(sides), 3)


def _skin_faces(vertices: np.ndarray, ids: np.ndarray, borders: list[np.ndarray]) -> np.ndarray:
    """Triangles between the free vertices and the borders of the patches."""
    poles = np.array([unit(vertices[b].mean(0) - CENTRE) for b in borders])
    chart = np.concatenate([unit(vertices[ids] - CENTRE), poles])
    t = ConvexHull(chart).simplices
    normal = np.cross(chart[t[:, 1]] - chart[t[:, 0]], chart[t[:, 2]] - chart[t[:, 0]])
    t = np.where(((normal * chart[t].mean(1)).sum(1) < 0)[:, None], t[:, ::-1], t)
    label = np.concatenate([ids, -1 - np.arange(len(borders))])[t]
    keep = np.ones(len(t), bool)
    for d, border in enumerate(borders):
        hole = (label == -1 - d).any(1)
        within = np.isin(label, border)
        if not (within | (label == -1 - d))[hole].all():
            raise ValueError(f"border {d} is not convex seen from the centre; move its outer ring")
        keep &= ~hole & ~within.all(1)
    return label[keep]


def neighbour_mean(faces: np.ndarray, count: int) -> sp.csr_matrix:
    """Sparse [V, V] operator: each vertex becomes the mean of its neighbours."""
    i = np.concatenate([faces[:, 0], faces[:, 1], faces[:, 2]])
    j = np.concatenate([faces[:, 1], faces[:, 2], faces[:, 0]])
    graph = sp.coo_matrix((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), (count, count)).tocsr()
    graph.data[:] = 1
    return sp.diags(1 / np.maximum(np.asarray(graph.sum(1)).ravel(), 1)) @ graph


def _relax(v: np.ndarray, faces, group, ring, mids, left, right) -> np.ndarray:
    """Evens the triangles out along the surface, keeping the mirror symmetry."""
    mean = neighbour_mean(faces, len(v))
    pairs = [(left, right)]
    pairs += [tuple(np.nonzero(group == f"eye_{s}")[0] for s in ("left", "right"))]
    mouth = np.nonzero(group == "mouth")[0]
    n = len(MOUTH_ANGLES)
    place = np.arange(len(mouth))  # rings of n, numbered from the left corner over the upper lip
    pairs.append((mouth, mouth[place - place % n + (n // 2 - place % n) % n]))
    free = np.concatenate([mids, left, right])
    soft = np.nonzero(np.isin(group, ["eye_left", "eye_right", "mouth"]) & (ring >= 4))[0]
    for moving, rounds, rate in ((free, 16, 0.5), (soft, 6, 0.3)):
        for _ in range(rounds):
            step = (mean @ v - v)[moving]
            normal = head_surface.gradient(v[moving])
            step -= (step * normal).sum(1, keepdims=True) * normal
            v[moving] = head_surface.project(v[moving] + rate * step, 2)
            v[mids, 0] = 0
            for a, b in pairs:
                v[a] = 0.5 * (v[a] + v[b] * MIRROR)
                v[b] = v[a] * MIRROR
    ears = np.nonzero(np.isin(group, ["ear_left", "ear_right"]))[0]
    for _ in range(2):
        rate = np.where(ring[ears] <= 1, 0.4, 0.18)[:, None]
        v[ears] += rate * (mean @ v - v)[ears]
    return v


def proportion(points: np.ndarray) -> np.ndarray:
    """Shortens the face below the eyes, where the plan is a tenth too long; rigid below the chin."""
    below = np.clip(0.012 - points[:, 1], 0, 0.140)
    eased = np.where(below < 0.012, below**2 / 0.024, below - 0.006)
    return points + np.stack([0 * below, 0.10 * eased, 0 * below], 1)


def build() -> HeadMesh:
    """The whole mesh, about 5,000 vertices, in about ten seconds on one core."""
    b = _Builder()
    borders = [_put_eye(b, True), _put_eye(b, False), _put_ear(b, True), _put_ear(b, False)]
    borders += [_put_mouth(b), _put_neck(b)]
    placed = b.vertices()
    mid_points, side_points = _free_points([placed[i] for i in borders])
    mids = b.add(mid_points, "free", 0, 0.0)
    left = b.add(side_points, "free", 0, 0.0)
    right = b.add(side_points * MIRROR, "free", 0, 0.0)
    vertices = b.vertices()
    b._faces(_skin_faces(vertices, np.concatenate([*borders, mids, left, right]), borders))
    faces = np.concatenate(b.faces)
    group, ring = np.array(b.group), np.concatenate(b.ring)
    skin = _relax(vertices, faces, group, ring, mids, left, right)
    b.blocks = [skin]
    ball = head_parts.eyeball()
    b.part(ball, "ball_left")
    b.part(ball, "ball_right", mirror=True)
    b.part(head_parts.teeth(upper=True), "teeth_upper")
    b.part(head_parts.teeth(upper=False), "teeth_lower")
    b.part(head_parts.tongue(), "tongue")
    plan = b.vertices()
    return HeadMesh(
        proportion(plan),
        plan,
        np.concatenate(b.faces),
        np.array(b.group),
        np.concatenate(b.ring),
        np.concatenate(b.angle),
    )
