"""Captures of a person as VHAP exports and GaussianAvatars reads them: pictures, cameras, FLAME parameters.

A folder with transforms.json, or transforms_train.json, _val and _test beside each other; each has "frames"
with file_path, perhaps fg_mask_path, flame_param_path, timestep_index, camera_index, transform_matrix (camera
to world, OpenGL axes: y up, z backwards) and fl_x, fl_y, cx, cy, w, h or camera_angle_x, in each frame or
once for all. Source: GaussianAvatars 04e4f759, scene/dataset_readers.py.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from zero1a_jax.errors import Refused

FILES = ("transforms.json", "transforms_train.json", "transforms_val.json", "transforms_test.json")
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # its camera's axes to OpenCV's
RIGID = 1e-3  # how far a rotation may be from one


class Frame(NamedTuple):
    """One picture of a capture."""

    image: Path
    mask: Path | None
    flame: Path  # .npz of one frame
    world_to_camera: np.ndarray  # [4, 4], OpenCV axes
    focal: np.ndarray  # [2] pixels
    center: np.ndarray  # [2] pixels
    width: int
    height: int
    time: int
    camera: int


def load(folder: str | os.PathLike) -> list[Frame]:
    """All frames by time, then camera. Pictures and parameters are not read, but they are there.

    Raises:
      FileNotFoundError: no transforms, or a file that they name is missing.
      Refused: not such a file; the message names file, frame and key.
    """
    folder = Path(folder)
    whole, *parts = (folder / name for name in FILES)
    given = [whole] if whole.is_file() else [path for path in parts if path.is_file()]
    if not given:
        raise FileNotFoundError(f"{folder} holds no {FILES[0]}: a capture is a folder as VHAP exports it")
    frames: dict[tuple[int, int], Frame] = {}
    for path in given:
        for frame in _read(path):
            frames[frame.time, frame.camera] = frame
    return [frames[key] for key in sorted(frames)]


def _read(path: Path) -> list[Frame]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise Refused(f"{path} is no JSON: {error}") from error
    entries = data.get("frames") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise Refused(f'{path} has no list "frames" of pictures')
    shared = {key: value for key, value in data.items() if key != "frames"}
    return [_frame(path, number, shared | entry) for number, entry in enumerate(entries)]


def _frame(path: Path, number: int, entry: dict[str, Any]) -> Frame:
    def wanted(key: str, default: float | None = None) -> float:
        value = entry.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Refused(f"{path}, frame {number}: {key} is {value!r}, no number")
        return float(value)

    def file(key: str, suffix: str = "") -> Path:
        if not isinstance(entry.get(key), str):
            raise Refused(f"{path}, frame {number}: {key} is missing")
        found = path.parent / entry[key]
        if suffix and not found.suffix:
            found = found.with_suffix(suffix)
        if not found.is_file():
            raise FileNotFoundError(f"{path}, frame {number}: there is no {found}")
        return found

    image = file("file_path", ".png")
    width, height = (int(wanted(key, side)) for key, side in zip("wh", _size(image), strict=True))
    if not (16 <= width <= 16384 and 16 <= height <= 16384):
        raise Refused(f"{path}, frame {number}: a picture of {width} x {height} pixels")
    if "fl_x" not in entry and "camera_angle_x" in entry:
        entry = entry | {"fl_x": 0.5 * width / math.tan(0.5 * wanted("camera_angle_x"))}
    focal = np.array([wanted("fl_x"), wanted("fl_y", entry.get("fl_x"))])
    if not np.all(focal > 0):
        raise Refused(f"{path}, frame {number}: the focal length is {focal[0]:g}, {focal[1]:g}")
    return Frame(
        image=image,
        mask=file("fg_mask_path") if entry.get("fg_mask_path") else None,
        flame=file("flame_param_path"),
        world_to_camera=_world_to_camera(path, number, entry.get("transform_matrix")),
        focal=focal,
        center=np.array([wanted("cx", width / 2), wanted("cy", height / 2)]),
        width=width,
        height=height,
        time=int(wanted("timestep_index", number)),
        camera=int(wanted("camera_index", 0)),
    )


def _size(image: Path) -> tuple[int, int]:
    """Width and height by the header."""
    try:
        with Image.open(image) as opened:
            return opened.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise Refused(f"{image} is no picture") from error


def _world_to_camera(path: Path, number: int, rows: Any) -> np.ndarray:
    try:
        matrix = np.array(rows, np.float64)
    except (TypeError, ValueError) as error:
        raise Refused(f"{path}, frame {number}: transform_matrix is no matrix of numbers") from error
    rotation = matrix[:3, :3] if matrix.shape == (4, 4) else np.zeros((3, 3))
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > RIGID or not np.isfinite(matrix).all():
        raise Refused(f"{path}, frame {number}: transform_matrix is no rigid motion, 4 x 4")
    return np.linalg.inv(matrix @ _OPENGL)
