"""ARKit recordings of the Live Link Face app (.csv), and how they drive a head with ARKit-named shapes.

Columns are matched by name, whatever their order and case. Timecode is HH:MM:SS:FF.mmm, FF the frame within
the second at the recording rate, .mmm thousandths of a frame; the app drops frames, so time comes from it.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax.types import ArkitMap, FlameModel, FlameParams, Motion

ROTATIONS = tuple(
    f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")
)
_TIMECODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})[:;](\d{2,3}(?:\.\d+)?)")
_DAY = 24 * 3600


class Recording(NamedTuple):
    """T rows of a Live Link file, as recorded."""

    names: tuple[str, ...]  # K shape names as the file writes them, in its order
    weights: np.ndarray  # [T, K] float64, 0..1
    rotations: np.ndarray  # [T, 9] float64 radians, in the order of ROTATIONS; 0 where the file has none
    frame: np.ndarray  # [T] int64 frames since the first row, by timecode; gaps are dropped frames
    seconds: np.ndarray  # [T] float64 seconds since the first row, by timecode
    fps: float  # the recording rate


def read_livelink(path: str | os.PathLike, *, fps: float = 60.0) -> Recording:
    """Reads a Live Link Face .csv.

    Args:
      path: the file.
      fps: the rate that the timecode's FF counts; 60 is the app's default, 30 the other choice.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: not such a file, a row of the wrong length, a value that is no number, a timecode that runs
        backward or counts to more frames than `fps`; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no motion at {path}")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a text table: {error}") from error
    if len(rows) < 2:
        raise ValueError(f"{path} holds no rows under a header")
    header = [name.strip() for name in rows[0]]
    index = {name.lower(): column for column, name in enumerate(header)}
    if len(index) != len(header):
        raise ValueError(f"{path}: two columns have the same name")
    if "timecode" not in index:
        raise ValueError(f"{path} has no Timecode column; it is not a Live Link Face recording")
    angles = {name.lower() for name in ROTATIONS}
    shapes = [
        c for c, name in enumerate(header) if name.lower() not in {"timecode", "blendshapecount", *angles}
    ]
    values = _numbers(path, rows, [*shapes, *(index[n.lower()] for n in ROTATIONS if n.lower() in index)])
    present = [i for i, name in enumerate(ROTATIONS) if name.lower() in index]
    rotations = np.zeros((len(values), len(ROTATIONS)))
    rotations[:, present] = values[:, len(shapes) :]
    frames = _frames(path, [row[index["timecode"]] for row in rows[1:]], fps)
    return Recording(
        names=tuple(header[c] for c in shapes),
        weights=values[:, : len(shapes)],
        rotations=rotations,
        frame=np.floor(frames + 1e-6).astype(np.int64) - int(np.floor(frames[0] + 1e-6)),
        seconds=(frames - frames[0]) / fps,
        fps=float(fps),
    )


def arkit_expression(names: Sequence[str], weights: np.ndarray, model: FlameModel) -> np.ndarray:
    """ARKit weights [T, K] named `names` as expression coefficients [T, E] of `model`, by name.

    Shapes that the model lacks (often tongueOut) have no effect; shapes that the table lacks stay 0.

    Raises:
      ValueError: the model's expressions have no ARKit names, or none of them occurs in `names`.
    """
    if not model.expression_names:
        raise ValueError(
            f"the head model {model.version} has no ARKit-named expressions; give livelink_motion the "
            "map of arkit_map, or drive the embedded head"
        )
    column = {name.lower(): i for i, name in enumerate(names)}
    out = np.zeros((len(weights), np.shape(model.expression_basis)[2]), np.float32)
    matched = [(e, column[n.lower()]) for e, n in enumerate(model.expression_names) if n.lower() in column]
    if not matched:
        raise ValueError(f"none of {', '.join(names[:5])} ... is one of the head model's expressions")
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

    Args:
      recording: what `read_livelink` returned.
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
        expression = arkit_expression(recording.names, weights, model)
    else:
        expression, jaw, eyes = _mapped(recording.names, weights, model, arkit)
    turned = Rotation.from_euler("YXZ", angles.reshape(-1, 3)).as_rotvec()
    turned = turned.reshape(count, 3, 3).astype(np.float32)
    eyes = turned[:, 1:] if turned[:, 1:].any() else eyes
    zeros = np.zeros((count, 3), np.float32)
    shape = np.zeros((count, np.shape(model.shape_basis)[2]), np.float32)
    flame = FlameParams(shape, expression, zeros, turned[:, 0], jaw, eyes, zeros.copy())
    return Motion(flame, None, recording.fps, model.version)


def _mapped(
    names: Sequence[str], weights: np.ndarray, model: FlameModel, arkit: ArkitMap
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expression [T, E], jaw [T, 3] and eyes [T, 2, 3] of weights [T, K], shapes matched by name."""
    expressions = np.shape(model.expression_basis)[2]
    if np.shape(arkit.expression)[1] != expressions:
        raise ValueError(
            f"the ARKit map has {np.shape(arkit.expression)[1]} coefficients, the head has {expressions}"
        )
    row = {name.lower(): k for k, name in enumerate(arkit.names)}
    known = [(column, row[name.lower()]) for column, name in enumerate(names) if name.lower() in row]
    if not known:
        raise ValueError(f"none of {', '.join(names[:5])} ... is in the ARKit map")
    columns, rows = np.array(known).T
    parts = [np.asarray(part, np.float32)[rows] for part in (arkit.expression, arkit.jaw, arkit.eyes)]
    used = weights[:, columns].astype(np.float32)
    return used @ parts[0], used @ parts[1], np.einsum("tk,kec->tec", used, parts[2])


def _numbers(path: Path, rows: list[list[str]], columns: list[int]) -> np.ndarray:
    out = np.zeros((len(rows) - 1, len(columns)))
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise ValueError(f"{path}, row {line}: {len(row)} cells under {len(rows[0])} columns")
        try:
            out[line - 2] = [float(row[c]) for c in columns]
        except ValueError as error:
            raise ValueError(f"{path}, row {line}: {error}") from error
    bad = np.argwhere(~np.isfinite(out))
    if len(bad):
        raise ValueError(f"{path}, row {bad[0, 0] + 2}: a value is not finite")
    return out


def _frames(path: Path, timecodes: list[str], fps: float) -> np.ndarray:
    """Frames since midnight of the first row's day, with fractions."""
    if not fps > 0:
        raise ValueError(f"fps is {fps}; give the recording rate, 60 or 30")
    out = np.zeros(len(timecodes))
    for i, text in enumerate(timecodes):
        match = _TIMECODE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{path}, row {i + 2}: the timecode {text!r} is not HH:MM:SS:FF.mmm")
        hours, minutes, seconds, frame = (float(part) for part in match.groups())
        if frame >= np.ceil(fps):
            raise ValueError(f"{path}, row {i + 2}: frame {frame} of a second, at {fps} a second; set fps")
        out[i] = (hours * 3600 + minutes * 60 + seconds) * fps + frame
        if i and out[i] < out[i - 1] - _DAY * fps / 2:
            out[i] += _DAY * fps  # past midnight
        if i and out[i] < out[i - 1]:
            raise ValueError(f"{path}, row {i + 2}: the timecode {text} runs backward")
    return out


def _resampled(grid: np.ndarray, seconds: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(grid, seconds, column) for column in values.T], axis=1)
