"""The companions of a FLAME model: landmark embeddings, masks, texture coordinates, each with its reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax.converters.checked import indices, numbers, table
from zero1a_jax.converters.flame_files import DECAS, DYNAMIC, MASKS, MEDIAPIPE, STATIC, TEMPLATE, WITH_EYES
from zero1a_jax.converters.pickles.unpickle import BadFile, load_npy, load_npz, load_pickle
from zero1a_jax.types import FlameModel

INNER, ROWS, CONTOUR, MEDIAPIPE_POINTS = 51, 79, 17, 105
FACE_MESH = 478  # points of MediaPipe's face mesh, irises included
MAX_TEMPLATE = 8 << 20  # bytes


def add(model: FlameModel, folder: Path) -> FlameModel:
    """The model with what `folder` holds of its companions; the rest stays as it is.

    Raises Refused for a companion that is damaged or does not fit the model; the message names the file.
    """
    parts: dict[str, Any] = {}
    readers: tuple[tuple[str, Callable[[Path, FlameModel], dict[str, Any]]], ...] = (
        (DECAS, _with_eyes),
        (WITH_EYES, _with_eyes),
        (STATIC, _static),
        (DYNAMIC, _dynamic),
        (MEDIAPIPE, _mediapipe),
        (MASKS, _masks),
        (TEMPLATE, _template),
    )
    for name, read in readers:
        file = folder / name
        if file.is_file():
            try:
                parts |= read(file, model)
            except BadFile as error:
                text = str(error)
                raise BadFile(text if text.startswith(f"{file}: ") else f"{file}: {text}") from error
    return model.replace(**parts)


def _static(file: Path, model: FlameModel) -> dict[str, Any]:
    content = table(load_pickle(file), "landmark embedding")
    return _points("landmark", content, "lmk_face_idx", "lmk_b_coords", (INNER,), model)


def _dynamic(file: Path, model: FlameModel) -> dict[str, Any]:
    content = table(load_npy(file), "landmark embedding")
    rows = {name: _stacked(content.get(name), name) for name in ("lmk_face_idx", "lmk_b_coords")}
    return _points("contour", rows, "lmk_face_idx", "lmk_b_coords", (ROWS, CONTOUR), model)


def _with_eyes(file: Path, model: FlameModel) -> dict[str, Any]:
    """The 51 of iBUG come first; behind them are the right and the left eye's centre."""
    content = table(load_npy(file), "landmark embedding")
    faces, weights = "static_lmk_faces_idx", "static_lmk_bary_coords"
    both = (content.get(faces), content.get(weights))
    if not all(isinstance(part, np.ndarray) and part.ndim for part in both):
        raise BadFile(f"{faces} or {weights} is missing")
    static = {faces: both[0][:INNER], weights: both[1][:INNER]}  # type: ignore[index]
    points = _points("landmark", static, faces, weights, (INNER,), model)
    faces, weights = "dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"
    return points | _points("contour", content, faces, weights, (ROWS, CONTOUR), model)


def _mediapipe(file: Path, model: FlameModel) -> dict[str, Any]:
    content = load_npz(file)
    points = _points("mediapipe", content, "lmk_face_idx", "lmk_b_coords", (MEDIAPIPE_POINTS,), model)
    ids = indices(content, "landmark_indices", (MEDIAPIPE_POINTS,), FACE_MESH)
    return points | {"mediapipe_indices": ids}


def _stacked(rows: Any, name: str) -> np.ndarray:
    """One array of a list of equal ones."""
    if isinstance(rows, np.ndarray):
        return rows
    if not isinstance(rows, list) or not rows or not all(isinstance(row, np.ndarray) for row in rows):
        raise BadFile(f"{name} is no list of arrays")
    if len({(row.shape, row.dtype.kind) for row in rows}) > 1:
        raise BadFile(f"the arrays of {name} differ in shape")
    if len(rows) * rows[0].size > ROWS * CONTOUR * 3:
        raise BadFile(f"{name} holds {len(rows)} arrays of shape {rows[0].shape}, which are too many numbers")
    return np.stack(rows)


def _points(
    field: str, content: dict, faces: str, weights: str, shape: tuple[int, ...], model: FlameModel
) -> dict[str, Any]:
    """Triangles and barycentric coordinates of landmarks."""
    triangles = indices(content, faces, shape, len(model.faces))
    mixes = numbers(content, weights, (*shape, 3))
    # Tiny negative weights occur in the public files.
    if np.abs(mixes.sum(-1) - 1).max() > 1e-3 or mixes.min() < -1e-3:
        raise BadFile(f"{weights} are no barycentric coordinates: they are negative or do not sum to 1")
    return {f"{field}_faces": triangles, f"{field}_barycentrics": mixes}


def _masks(file: Path, model: FlameModel) -> dict[str, Any]:
    """Lists of vertices by the region's name."""
    content = table(load_pickle(file), "file of masks")
    vertices = len(model.template)
    if not content or len(content) > 1000:
        raise BadFile(f"it holds {len(content)} masks")
    masks = {}
    for name in content:
        if not isinstance(name, str):
            raise BadFile(f"a mask has the number {name} for a name")
        masks[name] = np.zeros(vertices, bool)
        masks[name][indices(content, name, (None,), vertices)] = True
    return {"masks": masks}


def _template(file: Path, model: FlameModel) -> dict[str, Any]:
    """Texture coordinates alone: the official template lies in another model's space."""
    if file.stat().st_size > MAX_TEMPLATE:
        raise BadFile(f"it has more than {MAX_TEMPLATE >> 20} MiB")
    coordinates: list[list[float]] = []
    corners: list[list[list[int]]] = []
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            kind, *words = line.split(None, 5)[:5] or [b""]
            try:
                if kind == b"vt":
                    coordinates.append([float(word) for word in words[:2]])
                elif kind == b"f":
                    corners.append([[int(part) for part in word.split(b"/", 2)[:2]] for word in words])
            except ValueError as error:
                raise BadFile(f"line {number} holds something that is no number") from error
            if len(corners) > len(model.faces) or len(coordinates) > 3 * len(model.faces):
                raise BadFile("it has more triangles than the model, or more texture points than corners")
    if {len(pair) for pair in coordinates} != {2}:
        raise BadFile("it has no texture coordinates, or some of other than two numbers")
    if {(len(face), *map(len, face)) for face in corners} != {(3, 2, 2, 2)}:
        raise BadFile("its faces are no triangles of vertex/texture pairs")
    try:
        faces = np.array(corners, np.int64) - 1
    except OverflowError as error:
        raise BadFile("its faces refer to numbers that are far too large") from error
    content = {"vt": np.array(coordinates), "f": faces[..., 0], "ft": faces[..., 1]}
    uv = numbers(content, "vt", (None, 2))
    if uv.min() < -1e-3 or uv.max() > 1 + 1e-3:
        raise BadFile("its texture coordinates leave the range 0 to 1")
    if not np.array_equal(content["f"], model.faces):
        raise BadFile("its faces are not those of the model, or in another order")
    return {"uv": uv, "uv_faces": indices(content, "ft", (len(faces), 3), len(uv))}
