"""FLAME's parameters under the names that trackers give them, one frame or many.

| here        | VHAP, GaussianAvatars | DECA, EMOCA      | SMIRK             | Pixel3DMM, Metrical Tracker |
|-------------|-----------------------|------------------|-------------------|-----------------------------|
| shape       | shape                 | shape, shapecode | shape_params      | shape                       |
| expression  | expr                  | exp, expcode     | expression_params | exp                         |
| rotation    | rotation              | pose, posecode   | pose_params       |                             |
| jaw         | jaw_pose              | pose, posecode   | jaw_params        | jaw                         |
| neck        | neck_pose             |                  |                   | neck                        |
| eyes        | eyes_pose             |                  |                   | eyes                        |
| translation | translation           |                  |                   |                             |

`pose` is axis-angle of the root alone [3], root and jaw [6], or root, neck, jaw, left and right eye [15]. A
joint has three numbers, axis-angle in radians, or six, the first two rows of its rotation matrix. Cameras,
textures, lights, eyelids and offsets of vertices are left out. Nothing is unpickled.
Sources: GaussianAvatars 30cc4bde, VHAP 4b64ab7d, DECA's and EMOCA's codes, SMIRK's demo, the checkpoints of
Pixel3DMM; smplx for the order of 15.
"""

from __future__ import annotations

import io
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax.errors import Refused

NAMES = {
    "shape": ("shape", "shape_params", "shapecode"),
    "expression": ("expr", "exp", "expression_params", "expcode"),
    "jaw": ("jaw_pose", "jaw", "jaw_params"),
    "eyes": ("eyes_pose", "eyes"),
    "neck": ("neck_pose", "neck"),
    "rotation": ("rotation",),
    "translation": ("translation",),
}
PACKED = ("pose", "pose_params", "posecode")
ABOUT = ("fps", "flame_version")
_WANTED = {name for several in NAMES.values() for name in several} | {*PACKED, *ABOUT}
_CODES = _WANTED - set(ABOUT)
_JOINTS = {"jaw": 1, "eyes": 2, "neck": 1, "rotation": 1}
_PACKED_JOINTS = {3: ("rotation",), 6: ("rotation", "jaw"), 15: ("rotation", "neck", "jaw", "eyes")}
# What np.load raises for archives that are cut, damaged, encrypted or claim too much.
_UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    RuntimeError,
    KeyError,
    MemoryError,
    OverflowError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
)


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz whose names are in the table, and its fps and flame_version.

    Also of a folder with an .npy an array, as EMOCA writes it. Raises FileNotFoundError, or Refused where it
    is no such file.
    """
    if path.is_dir():
        return {file.stem: _array(file) for file in sorted(path.glob("*.npy")) if file.stem in _CODES}
    if not path.is_file():
        raise FileNotFoundError(f"there are no parameters at {path}")
    try:
        with open(path, "rb") as file:
            data = np.load(file, allow_pickle=False)
            if isinstance(data, np.ndarray):
                raise Refused("it holds one bare array")
            return {name: data[name] for name in data.files if name in _WANTED}
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:100]  # some quote what they read
        raise Refused(f"{path} is not a plain .npz of numbers: {reason}") from error


def has_codes(folder: Path) -> bool:
    """Whether a folder holds one array a file, at least the expression."""
    return any((folder / f"{name}.npy").is_file() for name in NAMES["expression"])


def _array(file: Path) -> np.ndarray:
    try:
        return np.lib.format.read_array(io.BytesIO(file.read_bytes()), allow_pickle=False)
    except _UNREADABLE as error:
        raise Refused(
            f"{file} is not a plain .npy of numbers: {' '.join(str(error).split())[:100]}"
        ) from error


def parts(data: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """What a file holds, by our names: float32, one row a frame.

    Returns:
      expression [T, E] and what else is known of shape [S] or [T, S], jaw, neck, rotation, translation [T, 3]
      and eyes [T, 6]. An array of one frame may lack its leading axis; T is the expressions' count.

    Raises:
      Refused: no expression, another number of frames, values that are not finite or no rotations.
    """
    raw = {field: name for field, several in NAMES.items() for name in several[::-1] if name in data}
    if "expression" not in raw:
        raise Refused(f"{path} is of no known tracker, it lacks {' or '.join(NAMES['expression'])}")
    expression = _numbers(data, raw["expression"], path)
    expression = expression[None] if expression.ndim == 1 else expression.reshape(len(expression), -1)
    frames = len(expression)
    out = {"expression": expression}
    for field, name in raw.items():
        values = _numbers(data, name, path)
        if field == "shape":
            values = values if values.ndim == 1 else values.reshape(len(values), -1)
            if values.ndim == 2 and len(values) not in (1, frames):
                raise Refused(f"{path}: {name} has shape {data[name].shape}; expected [S] or ({frames}, S)")
            out[field] = values[0] if values.ndim == 2 and len(values) == 1 else values
        elif field == "translation":
            out[field] = _rows(values, frames, (3,), name, path, raw["expression"])
        elif field in _JOINTS:
            joints = _JOINTS[field]
            rows = _rows(values, frames, (3 * joints, 6 * joints), name, path, raw["expression"])
            out[field] = rows if rows.shape[1] == 3 * joints else _axis_angle(rows, name, path)
    packed = next((name for name in PACKED if name in data), None)
    if packed is not None:
        values = _numbers(data, packed, path)
        rows = _rows(values, frames, tuple(_PACKED_JOINTS), packed, path, raw["expression"])
        at = 0
        for field in _PACKED_JOINTS[rows.shape[1]]:
            width = 3 * _JOINTS[field]
            out.setdefault(field, rows[:, at : at + width])
            at += width
    return out


def told(data: Mapping[str, np.ndarray], path: Path) -> tuple[float | None, str | None]:
    """The rate and the head's version that a file names; None where it is silent. Raises Refused."""
    rate = version = None
    if "fps" in data:
        rate = np.asarray(data["fps"])
        if rate.size != 1 or rate.dtype.kind not in "fiu" or not np.isfinite(rate).all() or not rate > 0:
            raise Refused(f"{path}: fps is no rate above 0")
        rate = float(rate.ravel()[0])
    if "flame_version" in data:
        version = np.asarray(data["flame_version"])
        if version.size != 1 or version.dtype.kind not in "US":
            raise Refused(f"{path}: flame_version is no text")
        version = str(version.astype("U").ravel()[0])
    return rate, version


def _numbers(data: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    array = np.asarray(data[name])
    with np.errstate(over="ignore", invalid="ignore"):
        values = array.astype(np.float32) if array.dtype.kind in "fiu" else np.full(1, np.nan, np.float32)
    if not values.size or not values.ndim or not np.isfinite(values).all():
        raise Refused(f"{path}: {name} holds values that are not finite numbers, or none")
    return values


def _rows(
    values: np.ndarray, frames: int, widths: tuple[int, ...], name: str, path: Path, beside: str
) -> np.ndarray:
    """Values as [frames, one of `widths`]; the array `beside` says how many frames there are."""
    for width in widths:
        if values.size == frames * width and (len(values) == frames or frames == 1):
            return values.reshape(frames, width)
    wanted = " or ".join(f"({frames}, {width})" for width in widths)
    count = "one frame" if frames == 1 else f"{frames} frames"
    raise Refused(
        f"{path}: {name} has shape {values.shape}, {values.size} numbers; expected {wanted}, "
        f"as {beside} has {count}"
    )


def _axis_angle(rows: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Axis-angle [T, 3 n] of the first two rows of n rotation matrices [T, 6 n]."""
    pairs = rows.reshape(-1, 2, 3).astype(np.float64)
    first = pairs[:, 0] / np.maximum(np.linalg.norm(pairs[:, 0], axis=-1, keepdims=True), 1e-12)
    second = pairs[:, 1] - np.sum(first * pairs[:, 1], -1, keepdims=True) * first
    length = np.linalg.norm(second, axis=-1, keepdims=True)
    if length.min() < 1e-6:
        raise Refused(f"{path}: {name} holds no rotations")
    second = second / length
    matrices = np.stack([first, second, np.cross(first, second)], 1)
    return Rotation.from_matrix(matrices).as_rotvec().astype(np.float32).reshape(len(rows), -1)
