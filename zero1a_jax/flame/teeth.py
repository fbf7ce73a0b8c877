"""Teeth for heads that have none: two rows of plates behind the lips.

The construction of GaussianAvatars and VHAP (`add_teeth`), so that avatars of either fit: 120 vertices
and 168 faces after the head's own.
"""

from __future__ import annotations

import numpy as np

from zero1a_jax.types import FlameModel

COUNT = 15  # vertices along a row
_NECK, _JAW = 1, 2
_MIDDLE = (COUNT - 1) // 2  # diagonals of the strips turn around here
# Blocks of 15 vertices, in order: upper root, lower root, upper edge, lower edge, then at the back
# upper root, upper edge, lower root, lower edge.
_IS_UPPER = (True, False, True, False, True, True, False, False)
# Rows of the 51 landmarks along the outer lips, from the subject's left corner to the right.
_UPPER_LIP = [37, 36, 35, 34, 33, 32, 31]
_LOWER_LIP = [37, 38, 39, 40, 41, 42, 31]
_UV_ROWS = (3, 2, 0, 1, 3, 4, 6, 5)
# Strips between two blocks: (first, second, reversed winding, diagonals swapped).
_STRIPS = (
    (0, 2, False, False),
    (4, 5, True, False),
    (5, 2, True, True),
    (3, 1, False, True),
    (6, 7, False, False),
    (7, 3, False, True),
)


def _strip(first: int, second: int, reverse: bool, swap: bool) -> list[list[int]]:
    faces = []
    for i in range(COUNT - 1):
        a, b = first * COUNT + i, second * COUNT + i
        if (i < _MIDDLE) != swap:
            pair = [[a, b + 1, b], [a, a + 1, b + 1]]
        else:
            pair = [[a, a + 1, b], [a + 1, b + 1, b]]
        faces += [[x, z, y] for x, y, z in pair] if reverse else pair
    return faces


def _vertices(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """The 120 vertices, metres, from the lips' rings [15, 3]."""
    gap = np.linalg.norm(upper - lower, axis=-1).mean()
    base = 0.5 * (upper + lower)
    base[:, 1] = base[:, 1].mean()
    base[:, 2] -= 1.5 * gap
    upper_edge = base + gap * np.array([0, 0.1, 0])
    upper_root = upper_edge + gap * np.array([0, 2.0, 0])
    lower_edge = base + gap * np.array([0, -0.1, -0.4])
    lower_root = lower_edge - gap * np.array([0, 2.0, 0])
    front = [upper_root, lower_root, upper_edge, lower_edge]
    back = [block - gap * np.array([0, 0, 1.0]) for block in (upper_root, upper_edge, lower_root, lower_edge)]
    return np.concatenate(front + back)


def _texture() -> np.ndarray:
    rows = np.linspace(1 - 0.0083, 1 - 0.0425, 7)[list(_UV_ROWS)]
    columns = np.linspace(0.62, 0.38, COUNT)
    return np.stack(np.broadcast_arrays(columns, rows[:, None]), -1).reshape(-1, 2)


def _append(array: np.ndarray | None, more: np.ndarray) -> np.ndarray | None:
    return None if array is None else np.concatenate([array, more]).astype(array.dtype)


def lip_rings(model: FlameModel) -> tuple[np.ndarray, np.ndarray]:
    """The upper and lower ring [15] of `add_teeth` for a head that has iBUG's landmarks.

    The vertices nearest to equal steps along the outer lips' landmarks on the template, from the subject's
    left corner of the mouth to the right; the corners belong to both. GaussianAvatars has hand-made lists
    for FLAME instead. Host only. Raises ValueError where the model has no landmark embedding.
    """
    if model.landmark_faces is None or model.landmark_barycentrics is None:
        raise ValueError("this FlameModel has no landmark_faces; load it with its landmark embedding files")
    template = np.asarray(model.template)
    corners = template[np.asarray(model.faces)[np.asarray(model.landmark_faces)]]
    points = np.einsum("lk,lkc->lc", np.asarray(model.landmark_barycentrics), corners)
    rings = []
    for line in (points[_UPPER_LIP], points[_LOWER_LIP]):
        reached = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        steps = np.linspace(0.0, reached[-1], COUNT)
        along = np.stack([np.interp(steps, reached, axis) for axis in line.T], 1)
        away = np.linalg.norm(template[None] - along[:, None], axis=-1)
        rings.append(away.argmin(1))
    return rings[0], rings[1]


def add_teeth(model: FlameModel, upper_ring: np.ndarray, lower_ring: np.ndarray) -> FlameModel:
    """The model with 120 more vertices and 168 more faces: teeth that follow identity, neck and jaw.

    `upper_ring`, `lower_ring` [15] are vertex ids along the outer border of the upper and lower lip,
    paired and in order. Upper teeth move with the neck joint, lower ones with the jaw; expressions
    and pose correctives do not move them. Masks "teeth", "teeth_upper", "teeth_lower" are added.
    Host only. Raises ValueError for rings of another length or ids outside the mesh.
    """
    rings = np.stack([np.asarray(upper_ring), np.asarray(lower_ring)])
    template = np.asarray(model.template)
    count = len(template)
    if rings.shape != (2, COUNT) or rings.min() < 0 or rings.max() >= count:
        raise ValueError(f"teeth need two rings of {COUNT} vertex ids below {count}, got shape {rings.shape}")
    total = 8 * COUNT
    identity = np.tile(np.asarray(model.shape_basis)[rings].mean(0), (8, 1, 1))
    skinning = np.zeros((total, np.asarray(model.skinning).shape[1]))
    upper = np.repeat(_IS_UPPER, COUNT)
    skinning[upper, _NECK] = 1.0
    skinning[~upper, _JAW] = 1.0
    faces = np.array([face for strip in _STRIPS for face in _strip(*strip)])
    zeros = {
        name: np.zeros((total, *np.asarray(getattr(model, name)).shape[1:]))
        for name in ("expression_basis", "pose_basis")
    }
    regressor = np.asarray(model.joint_regressor)
    masks = {
        k: np.concatenate([np.asarray(v), np.zeros(total, bool)]) for k, v in (model.masks or {}).items()
    }
    head = np.zeros(count, bool)
    for name, part in (("teeth", upper | ~upper), ("teeth_upper", upper), ("teeth_lower", ~upper)):
        masks[name] = np.concatenate([head, part]) | masks.get(name, False)
    uv = None if model.uv is None else np.asarray(model.uv)
    return model.replace(
        template=_append(template, _vertices(*template[rings])),
        shape_basis=_append(np.asarray(model.shape_basis), identity),
        expression_basis=_append(np.asarray(model.expression_basis), zeros["expression_basis"]),
        pose_basis=_append(np.asarray(model.pose_basis), zeros["pose_basis"]),
        joint_regressor=np.pad(regressor, ((0, 0), (0, total))),
        skinning=_append(np.asarray(model.skinning), skinning),
        faces=_append(np.asarray(model.faces), faces + count),
        masks=masks,
        uv=_append(uv, _texture()),
        uv_faces=None if uv is None else _append(np.asarray(model.uv_faces), faces + len(uv)),
    )
