"""An ARKit recording as a motion of a head, by the names of its shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax.drive.ranges import GAZE
from zero1a_jax.errors import Refused
from zero1a_jax.types import ArkitMap, FlameModel, FlameParams, Motion, Recording


def arkit_expression(names: Sequence[str], weights: np.ndarray, model: FlameModel) -> np.ndarray:
    """ARKit weights [T, K] named `names` as expression coefficients [T, E] of `model`, by name.

    Shapes that the model lacks (often tongueOut) have no effect; shapes that the table lacks stay 0.

    Raises:
      ValueError: the model's expressions have no ARKit names, or none of them occurs in `names`.
    """
    if not model.expression_names:
        raise Refused(
            f"the head model {model.version} has no ARKit-named expressions; give livelink_motion the "
            "map of arkit_map, or drive the embedded head"
        )
    column = {name.lower(): i for i, name in enumerate(names)}
    out = np.zeros((len(weights), np.shape(model.expression_basis)[2]), np.float32)
    matched = [(e, column[n.lower()]) for e, n in enumerate(model.expression_names) if n.lower() in column]
    if not matched:
        raise Refused(f"none of {', '.join(names[:5])} ... is one of the head model's expressions")
    for expression, source in matched:
        out[:, expression] = weights[:, source]
    return out


def livelink_motion(
    recording: Recording,
    model: FlameModel,
    *,
    arkit: ArkitMap | None = None,
    signs: Sequence[float] = (1.0, 1.0, 1.0),
    gain: float = 1.0,
) -> Motion:
    """A recording as a motion of `model`, on an even time grid at the recording rate (gaps interpolated).

    The head's rotation goes to the neck joint, the eyes' to the eye joints; jawOpen and its kin go to the
    expression coefficients, the jaw joint stays at rest. Angles are turned by Ry(yaw) Rx(pitch) Rz(roll) in
    the head's frame, which is ARKit's own: yaw > 0 to the subject's left, pitch > 0 down, roll > 0 to the
    subject's right shoulder. Recordings made with other signs are turned by `signs`.
    Apps record gaze twice, as rotations and as eyeLook shapes, which turn the eyes of a named head as well:
    where there are rotations of the eyes, those shapes are left out.

    Args:
      recording: as recorded, see converters.livelink.
      model: whose expressions are driven; its shape coefficients are left at 0.
      arkit: what shapes ask of a model without ARKit names, see `arkit_map`; shapes that are not in it have
        no effect. Its eyes count where the recording has no rotations of theirs.
      signs: factors of yaw, pitch and roll.
      gain: factor of all weights.

    Raises:
      ValueError: as `arkit_expression`, or a map for another number of expressions.
    """
    count = int(round(recording.seconds[-1] * recording.fps)) + 1
    grid = np.arange(count) / recording.fps
    weights = gain * _resampled(grid, recording.seconds, recording.weights)
    angles = _resampled(grid, recording.seconds, recording.rotations).reshape(count, 3, 3) * np.asarray(signs)
    jaw, eyes = np.zeros((count, 3), np.float32), np.zeros((count, 2, 3), np.float32)
    if arkit is None:
        if angles[:, 1:].any():
            weights[:, [name.lower().startswith(GAZE) for name in recording.names]] = 0
        expression = arkit_expression(recording.names, weights, model)
    else:
        expression, jaw, eyes = _mapped(recording.names, weights, model, arkit)
    turned = Rotation.from_euler("YXZ", angles.reshape(-1, 3)).as_rotvec()
    turned = turned.reshape(count, 3, 3).astype(np.float32)
    eyes = turned[:, 1:] if turned[:, 1:].any() else eyes
    zeros = np.zeros((count, 3), np.float32)
    shape = np.zeros((count, np.shape(model.shape_basis)[2]), np.float32)
    flame = FlameParams(shape, expression, zeros, turned[:, 0], jaw, eyes, zeros.copy())
    return Motion(flame, None, recording.fps, model.version, recording.notes)


def _mapped(
    names: Sequence[str], weights: np.ndarray, model: FlameModel, arkit: ArkitMap
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expression [T, E], jaw [T, 3] and eyes [T, 2, 3] of weights [T, K], shapes matched by name."""
    expressions = np.shape(model.expression_basis)[2]
    if np.shape(arkit.expression)[1] != expressions:
        raise Refused(
            f"the ARKit map has {np.shape(arkit.expression)[1]} coefficients, the head has {expressions}"
        )
    row = {name.lower(): k for k, name in enumerate(arkit.names)}
    known = [(column, row[name.lower()]) for column, name in enumerate(names) if name.lower() in row]
    if not known:
        raise Refused(f"none of {', '.join(names[:5])} ... is in the ARKit map")
    columns, rows = np.array(known).T
    parts = [np.asarray(part, np.float32)[rows] for part in (arkit.expression, arkit.jaw, arkit.eyes)]
    used = weights[:, columns].astype(np.float32)
    return used @ parts[0], used @ parts[1], np.einsum("tk,kec->tec", used, parts[2])


def _resampled(grid: np.ndarray, seconds: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(grid, seconds, column) for column in values.T], axis=1)
