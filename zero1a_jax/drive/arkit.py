"""ARKit's shapes on a head that has none of that name: least squares at the landmarks that both heads share.

A head whose expressions have ARKit's names shows how the landmarks move. The other head's expressions and jaw
are chosen so that its own landmarks move alike, as far as its basis can.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zero1a_jax.types import Array, FlameModel

EYE_CORNERS = (33, 263)  # MediaPipe's outer corners: heads are compared by the distance between them
ERROR = 5e-4  # metres that a landmark may be off, against the spreads below
SPREAD = 3.0  # standard deviations of the expressions; ARKit's shapes are extremes
JAW_SPREAD = 0.5  # radians
_JAW = 2
_LEAST = 40  # shared landmarks


def arkit_matrix(names: Sequence[str], source: FlameModel, model: FlameModel) -> np.ndarray:
    """Expression coefficients and jaw rotation of `model` for ARKit's shapes `names`, [K, E + 3] float32.

    Row k is what a weight of 1 of shape `names[k]` asks for: E coefficients, then the jaw's rotation vector
    in radians. Weights are added. `source` has expressions of ARKit's names (flame.procedural_head); shapes
    that it lacks get zeros. Linear about the rest pose, so a wide open jaw is approximate. Host only.

    Raises:
      ValueError: no name is known, or the heads share too few landmarks.
    """
    column = {name.lower(): index for index, name in enumerate(source.expression_names)}
    known = [(row, column[name.lower()]) for row, name in enumerate(names) if name.lower() in column]
    if not known:
        raise ValueError(f"none of {', '.join(names[:5])} ... is one of the expressions of {source.version}")
    if source.mediapipe_indices is None or model.mediapipe_indices is None:
        raise ValueError("both heads need MediaPipe's landmark embedding; load FLAME with its landmark files")
    ids = np.intersect1d(np.asarray(source.mediapipe_indices), np.asarray(model.mediapipe_indices))
    if len(ids) < _LEAST or not np.isin(EYE_CORNERS, ids).all():
        raise ValueError(f"the heads share {len(ids)} landmarks, which are too few")
    wanted = _at(source, ids, source.expression_basis)[..., [k for _, k in known]]
    wanted = wanted * _size(model, ids) / _size(source, ids)
    expression = _at(model, ids, model.expression_basis)
    moves = np.concatenate([expression, _at(model, ids, _jaw_moves(model))], -1).reshape(3 * len(ids), -1)
    spread = np.full(moves.shape[1], SPREAD)
    spread[-3:] = JAW_SPREAD
    moves = moves * spread / ERROR
    normal = moves.T @ moves + np.eye(len(spread))
    solved = np.linalg.solve(normal, moves.T @ (wanted.reshape(3 * len(ids), -1) / ERROR))
    matrix = np.zeros((len(names), len(spread)), np.float32)
    matrix[[row for row, _ in known]] = (spread[:, None] * solved).T
    return matrix


def _at(model: FlameModel, ids: np.ndarray, values: Array) -> np.ndarray:
    """Values of the vertices [V, ...] at the landmarks `ids` [L] of MediaPipe, float64."""
    row = {int(index): k for k, index in enumerate(np.asarray(model.mediapipe_indices))}
    rows = [row[int(index)] for index in ids]
    corners = np.asarray(model.faces)[np.asarray(model.mediapipe_faces)[rows]]
    weights = np.asarray(model.mediapipe_barycentrics, np.float64)[rows]
    return np.einsum("lk,lk...->l...", weights, np.asarray(values, np.float64)[corners])


def _size(model: FlameModel, ids: np.ndarray) -> float:
    points = _at(model, np.array(EYE_CORNERS), model.template)
    return float(np.linalg.norm(points[0] - points[1]))


def _jaw_moves(model: FlameModel) -> np.ndarray:
    """Derivative of the vertices [V, 3, 3] by the jaw's rotation vector, at rest."""
    template = np.asarray(model.template, np.float64)
    joint = np.asarray(model.joint_regressor, np.float64)[_JAW] @ template
    weight = np.asarray(model.skinning, np.float64)[:, _JAW, None]
    first = 9 * (_JAW - 1)  # of the pose basis, which leaves out the root
    pose = np.asarray(model.pose_basis, np.float64)[..., first : first + 9]
    moves = []
    for axis in np.eye(3):
        turn = np.cross(axis, np.eye(3)).T  # the matrix of x -> axis x x
        moves.append(weight * np.cross(axis, template - joint) + pose @ turn.ravel())
    return np.stack(moves, -1)
