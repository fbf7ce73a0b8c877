"""One face's FLAME parameters from another tracker's .npz: VHAP, SMIRK, Pixel3DMM or Metrical Tracker.

| here       | VHAP, GaussianAvatars | SMIRK                | Pixel3DMM, Metrical Tracker |
|------------|-----------------------|----------------------|-----------------------------|
| shape      | shape                 | shape_params         | shape                       |
| expression | expr                  | expression_params    | exp                         |
| jaw        | jaw_pose [3]          | jaw_params [3]       | jaw [6]                     |
| eyes       | eyes_pose [6]         |                      | eyes [12]                   |

Angles are axis-angle in radians, or in the last column the first two rows of each rotation matrix. Trackers
write dictionaries of tensors: numpy.savez(file, **{name: array}) of the one frame makes the file. Global
and neck rotations, translation and cameras are of the tracker's own world and are left out, as are eyelids,
which FLAME does not have. Sources: VHAP 4b64ab7d, SMIRK's demo, the checkpoints of Pixel3DMM.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax.converters.flame_npz import read_arrays
from zero1a_jax.errors import Refused
from zero1a_jax.flame.model import sized
from zero1a_jax.types import FlameModel, FlameParams

_NAMES = {
    "shape": ("shape", "shape_params"),
    "expression": ("expr", "exp", "expression_params"),
    "jaw": ("jaw_pose", "jaw", "jaw_params"),
    "eyes": ("eyes_pose", "eyes"),
}
_JOINTS = {"jaw": 1, "eyes": 2}


def load(path: str | os.PathLike, model: FlameModel) -> FlameParams:
    """The parameters of one face for `model`, without leading axes; rotation, neck and translation are 0.

    Missing coefficients are 0 and surplus ones are cut, as bases are ordered by variance; missing eyes look
    straight ahead.

    Raises:
      FileNotFoundError: nothing is there. Refused: not such a file, several frames, or coefficients of
        another head model; one sentence says which.
    """
    path = Path(path)
    names = [name for several in _NAMES.values() for name in several]
    data = read_arrays(path, {*names, "flame_version"})
    version = str(data.pop("flame_version", "unknown"))
    if version != model.version and (version != "unknown" or model.expression_names):
        of = "FLAME" if version == "unknown" else version
        raise Refused(
            f"{path} holds coefficients of {of}, but the head is {model.version}: give the right --flame"
        )
    found = {}
    for field, several in _NAMES.items():
        name = next((name for name in several if name in data), None)
        if name is not None:
            found[field] = _one_frame(data[name], name, path)
        elif field != "eyes":
            raise Refused(f"{path} is of no known tracker, it lacks {' or '.join(several)}")
    widths = {"shape": np.shape(model.shape_basis)[2], "expression": np.shape(model.expression_basis)[2]}
    fitted = {field: sized(found[field], width) for field, width in widths.items()}
    zero = np.zeros(3, np.float32)
    return FlameParams(
        **fitted,
        rotation=zero,
        neck=zero,
        jaw=_turns(found["jaw"], "jaw", path)[0],
        translation=zero,
        eyes=_turns(found["eyes"], "eyes", path) if "eyes" in found else np.zeros((2, 3), np.float32),
    )


def _one_frame(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all() or not array.size:
        raise Refused(f"{path}: {name} holds values that are not finite numbers")
    if array.ndim > 1 and array.shape[0] != 1:
        raise Refused(f"{path}: {name} has shape {array.shape}; give the one frame of the portrait")
    return np.ravel(array).astype(np.float32)


def _turns(values: np.ndarray, field: str, path: Path) -> np.ndarray:
    """Axis-angle [joints, 3] of so many, or of the first two rows of matrices."""
    joints = _JOINTS[field]
    if len(values) == 3 * joints:
        return values.reshape(joints, 3)
    if len(values) != 6 * joints:
        raise Refused(f"{path}: {field} has {len(values)} numbers, not {3 * joints} or {6 * joints}")
    rows = values.reshape(joints, 2, 3).astype(np.float64)
    first = rows[:, 0] / np.maximum(np.linalg.norm(rows[:, 0], axis=-1, keepdims=True), 1e-12)
    second = rows[:, 1] - np.sum(first * rows[:, 1], -1, keepdims=True) * first
    length = np.linalg.norm(second, axis=-1, keepdims=True)
    if length.min() < 1e-6:
        raise Refused(f"{path}: {field} holds no rotations")
    second = second / length
    matrices = np.stack([first, second, np.cross(first, second)], 1)
    return Rotation.from_matrix(matrices).as_rotvec().astype(np.float32)
