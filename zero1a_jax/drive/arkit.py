"""ARKit's shapes on a head that has none of that name: least squares against how a named head moves.

A head whose expressions have ARKit's names shows how the landmarks that both heads share move; or a table of
ARKit's shapes on the head's own mesh says so for every vertex. The head's expressions and jaw are chosen so
that it moves alike, as far as its basis can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.image.landmarks import OUTER_EYE_CORNERS
from zero1a_jax.types import ArkitMap, Array, FlameModel

ERROR = 5e-4  # metres that a landmark may be off, against the spreads below
SPREAD = 3.0  # standard deviations of the expressions; ARKit's shapes are extremes
JAW_SPREAD = 0.5  # radians
_JAW, _LEFT_EYE, _RIGHT_EYE = 2, 3, 4
_EYES = (("left_eyeball", _LEFT_EYE), ("right_eyeball", _RIGHT_EYE))
_LEAST = 40  # shared landmarks


def arkit_map(names: Sequence[str], source: FlameModel, model: FlameModel) -> ArkitMap:
    """What ARKit's shapes `names` ask of `model`, from what they do to `source`.

    Row k is what a weight of 1 of shape `names[k]` asks for. `source` has expressions of ARKit's names
    (flame.procedural_head); shapes that it lacks get zeros. Linear about the rest pose, so a wide open jaw is
    approximate. Eyes turn as those of `source` do. Host only.

    Raises:
      ValueError: no name is known, or the heads share too few landmarks.
    """
    column = {name.lower(): index for index, name in enumerate(source.expression_names)}
    known = [(row, column[name.lower()]) for row, name in enumerate(names) if name.lower() in column]
    if not known:
        raise Refused(f"none of {', '.join(names[:5])} ... is one of the expressions of {source.version}")
    if source.mediapipe_indices is None or model.mediapipe_indices is None:
        raise Refused("both heads need MediaPipe's landmark embedding; load FLAME with its landmark files")
    ids = np.intersect1d(np.asarray(source.mediapipe_indices), np.asarray(model.mediapipe_indices))
    if len(ids) < _LEAST or not np.isin(OUTER_EYE_CORNERS, ids).all():
        raise Refused(f"the heads share {len(ids)} landmarks, which are too few")
    rows, columns = np.array(known).T
    deltas = np.zeros((*source.template.shape, len(names)))
    deltas[..., rows] = np.asarray(source.expression_basis, np.float64)[..., columns]
    wanted = at_landmarks(source, ids, deltas) * _size(model) / _size(source)
    return _solved(
        names, wanted, lambda values: at_landmarks(model, ids, values), model, _eye_turns(source, deltas)
    )


def arkit_from_deltas(names: Sequence[str], deltas: Array, model: FlameModel) -> ArkitMap:
    """What ARKit's shapes `names` ask of `model`, from vertex offsets [K, V', 3] on its own mesh, metres.

    V' may leave out vertices at the end of the model's, as teeth that were added. Eyeballs, where the model
    marks them, are turned; everything else is expression and jaw.

    Raises:
      ValueError: the offsets have other shapes than the names and the model.
    """
    moved = np.moveaxis(np.asarray(deltas, np.float64), 0, -1)
    if moved.ndim != 3 or moved.shape[1:] != (3, len(names)) or len(moved) > len(model.template):
        raise Refused(
            f"offsets of shape {np.shape(deltas)} are not those of {len(names)} shapes on "
            f"{len(model.template)} vertices"
        )
    whole = np.zeros((*model.template.shape, len(names)))
    whole[: len(moved)] = moved
    used = np.arange(len(model.template)) < len(moved)
    for name, _ in _EYES:
        used &= ~np.asarray((model.masks or {}).get(name, np.zeros(len(used), bool)))
    return _solved(
        names,
        whole[used],
        lambda values: np.asarray(values, np.float64)[used],
        model,
        _eye_turns(model, whole),
    )


def _solved(
    names: Sequence[str],
    wanted: np.ndarray,
    choose: Callable[[Array], np.ndarray],
    model: FlameModel,
    eyes: np.ndarray,
) -> ArkitMap:
    """The map whose points, those that `choose` takes of values [V, ...], move as `wanted` [P, 3, K]."""
    expression = choose(model.expression_basis)
    moves = np.concatenate([expression, choose(_jaw_moves(model))], -1).reshape(wanted[..., 0].size, -1)
    spread = np.full(moves.shape[1], SPREAD)
    spread[-3:] = JAW_SPREAD
    moves = moves * spread / ERROR
    normal = moves.T @ moves + np.eye(len(spread))
    found = np.linalg.solve(normal, moves.T @ (wanted.reshape(len(moves), -1) / ERROR))
    found = (spread[:, None] * found).T.astype(np.float32)
    return ArkitMap(expression=found[:, :-3], jaw=found[:, -3:], eyes=eyes, names=tuple(names))


def _eye_turns(model: FlameModel, deltas: np.ndarray) -> np.ndarray:
    """Rotation vectors [K, 2, 3] of the eyes that offsets [V, 3, K] of their vertices come closest to."""
    turns = np.zeros((deltas.shape[-1], 2, 3), np.float32)
    template, regressor = (np.asarray(x, np.float64) for x in (model.template, model.joint_regressor))
    for side, (name, joint) in enumerate(_EYES):
        if not model.masks or name not in model.masks:
            continue
        eye = np.asarray(model.masks[name])
        arms = template[eye] - regressor[joint] @ template
        moves = np.stack([np.cross(axis, arms) for axis in np.eye(3)], -1)  # [P, 3, 3]
        solved = np.linalg.lstsq(moves.reshape(-1, 3), deltas[eye].reshape(3 * len(arms), -1), rcond=None)
        turns[:, side] = solved[0].T
    return turns


def at_landmarks(model: FlameModel, ids: np.ndarray, values: Array) -> np.ndarray:
    """Values of the vertices [V, ...] at the landmarks `ids` [L] of MediaPipe, float64."""
    row = {int(index): k for k, index in enumerate(np.asarray(model.mediapipe_indices))}
    rows = [row[int(index)] for index in ids]
    corners = np.asarray(model.faces)[np.asarray(model.mediapipe_faces)[rows]]
    weights = np.asarray(model.mediapipe_barycentrics, np.float64)[rows]
    return np.einsum("lk,lk...->l...", weights, np.asarray(values, np.float64)[corners])


def _size(model: FlameModel) -> float:
    points = at_landmarks(model, np.array(OUTER_EYE_CORNERS), model.template)
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
