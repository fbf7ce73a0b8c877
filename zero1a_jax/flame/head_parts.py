"""Loose parts of the embedded head: eyeballs with a cornea, two rows of teeth, a tongue.

Each function returns (vertices [n, 3] in metres, faces [f, 3] wound outward, row [n], column value [n]).
"""

from __future__ import annotations

import numpy as np

from zero1a_jax.flame.head_surface import EYE, EYE_RADIUS

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
BALL_RINGS, BALL_SEGMENTS = 18, 24
IRIS_ANGLE = 0.485  # radians from the optical axis: iris 5.7 mm, as in an adult eye
PUPIL_ANGLE = 0.20
TEETH, COLUMNS_A_TOOTH = 12, 3
ARCH_HALF_WIDTH, ARCH_DEPTH, ARCH_FRONT = 0.0235, 0.034, 0.0822


def sphere(rings: int, segments: int, polar: np.ndarray | None = None) -> Part:
    """Unit sphere around its +z pole; `polar` [rings - 1] overrides the polar angles of the rows."""
    polar = np.pi * np.arange(1, rings) / rings if polar is None else polar
    azimuth = 2 * np.pi * np.arange(segments) / segments
    p, a = (g.ravel() for g in np.meshgrid(polar, azimuth, indexing="ij"))
    body = np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], 1)
    vertices = np.concatenate([[[0, 0, 1.0]], body, [[0, 0, -1.0]]])
    row = np.concatenate([[0], np.repeat(np.arange(1, rings), segments), [rings]])
    column = np.concatenate([[0.0], a, [0.0]])
    j = np.arange(segments)
    k = (j + 1) % segments
    last = len(vertices) - 1
    faces = [np.stack([np.zeros_like(j), 1 + j, 1 + k], 1)]
    for i in range(rings - 2):
        a0, b0 = 1 + i * segments + j, 1 + i * segments + k
        faces += [np.stack([a0, a0 + segments, b0], 1), np.stack([b0, a0 + segments, b0 + segments], 1)]
    foot = 1 + (rings - 2) * segments
    faces.append(np.stack([np.full_like(j, last), foot + k, foot + j], 1))
    return vertices, np.concatenate(faces), row, column


def eyeball() -> Part:
    """The left eyeball; rings lie exactly on the borders of iris and pupil, the cornea bulges."""
    iris = np.linspace(PUPIL_ANGLE, IRIS_ANGLE, 4)
    polar = np.concatenate([[PUPIL_ANGLE / 2], iris, np.linspace(IRIS_ANGLE, np.pi, BALL_RINGS - 4)[1:-1]])
    vertices, faces, row, column = sphere(len(polar) + 1, BALL_SEGMENTS, polar)
    bulge = np.clip((vertices[:, 2] - 0.86) / 0.14, 0, 1) * 0.0006
    out = EYE + vertices * EYE_RADIUS
    out[:, 2] += bulge
    return out, faces, row, column


def teeth(upper: bool) -> Part:
    """One row of twelve teeth along a dental arch; rows: root, middle, edge, back root."""
    columns = TEETH * COLUMNS_A_TOOTH + 1
    t = np.linspace(-1, 1, columns)
    phase = np.arange(columns) % COLUMNS_A_TOOTH
    gap = phase == 0
    angle = t * np.deg2rad(76)
    scale = 1.0 if upper else 0.95
    x = scale * ARCH_HALF_WIDTH * np.sin(angle)
    z = ARCH_FRONT - (0 if upper else 0.0030) - ARCH_DEPTH * (1 - np.cos(angle)) * 0.75
    out = np.stack([np.sin(angle), 0 * t, np.cos(angle)], 1)
    centre = np.stack([x, 0 * t, z], 1) - out * np.where(gap, 0.0007, 0.0)[:, None]
    # incisors are longer than the teeth at the sides
    length = 0.0085 - 0.0030 * t**2 - np.where(gap, 0.0008, 0)
    sign = 1 if upper else -1
    edge_y = -0.0488 if upper else -0.0462
    edge = centre + np.stack([0 * t, edge_y + 0.0085 * sign - sign * length, 0 * t], 1)
    root_y = edge_y + 0.0105 * sign
    root = centre * [1, 0, 1] + [0, root_y, -0.0012]
    middle = 0.45 * root + 0.55 * edge + out * np.where(gap, 0.0, 0.0007)[:, None]
    back = root - 0.0050 * out
    vertices = np.concatenate([root, middle, edge - 0.0008 * out, back])
    row = np.repeat(np.arange(4), columns)
    j = np.arange(columns - 1)
    faces = []
    for i in range(3):
        a, b = i * columns + j, i * columns + j + 1
        c, d = b + columns, a + columns
        quads = [np.stack([a, d, b], 1), np.stack([b, d, c], 1)]
        faces += quads if upper else [q[:, ::-1] for q in quads]
    return vertices, np.concatenate(faces), row, np.tile(t, 4)


def tongue() -> Part:
    """A flat ellipsoid on the floor of the mouth, pole forward."""
    vertices, faces, row, column = sphere(9, 12)
    out = vertices * [0.0120, 0.0055, 0.0225] + [0, -0.0585, 0.0520]
    out[:, 1] -= 0.0022 * np.exp(-((out[:, 0] / 0.004) ** 2)) * (out[:, 1] > -0.0585)  # median furrow
    return out, faces, row, column
