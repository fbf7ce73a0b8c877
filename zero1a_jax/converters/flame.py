"""FLAME's files to a FlameModel: 2020, 2023 and 2023 Open in every encoding of theirs. Executes nothing.

The names of a folder's files are those of the official downloads (and smplx's FLAME_NEUTRAL.pkl). What a
folder lacks becomes None. Source: Li, Bolkart, Black, Li, Romero, "Learning a model of facial shape and
expression from 4D scans", SIGGRAPH Asia 2017.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax.converters import flame_parts
from zero1a_jax.converters.checked import indices, numbers, table
from zero1a_jax.converters.flame_files import VERSIONS, model_file
from zero1a_jax.converters.pickles.unpickle import BadFile, load_pickle
from zero1a_jax.types import FlameModel

VERTICES, FACES, JOINTS = 5023, 9976, 5
IDENTITY, COLUMNS = 300, 400  # of shapedirs in the complete files
SHORT_IDENTITY, SHORT_COLUMNS = 10, 20  # in files that hold less
LARGEST = 10.0  # metres
ROOTS = (-1, 2**32 - 1)


def load(path: str | os.PathLike) -> FlameModel:
    """Reads a FLAME model from its .pkl, or with all its companions from a folder.

    A folder may hold, besides one model of flame_files.DOWNLOADS: flame_static_embedding.pkl,
    flame_dynamic_embedding.npy, landmark_embedding_with_eyes.npy, mediapipe_landmark_embedding.npz,
    FLAME_masks.pkl and head_template_mesh.obj. A .pkl alone has no landmarks, masks or UVs (None).

    Returns:
      FlameModel of float32 and int32 numpy arrays. Of 400 columns of shapedirs 300 are identity and 100
      expression; of fewer, as in smplx, the first ten and the next ten. `version` is known by the name of a
      file with FLAME's mesh; else it is "flame_" and a checksum of the bases, since coefficients of different
      bases mean different things. `expression_names` is empty.

    Raises:
      FileNotFoundError: nothing is there, or no model in the folder.
      Refused: a file is damaged, hostile or inconsistent; the message names it and says what is wrong.
    """
    path = Path(path)
    folder = path if path.is_dir() else None
    file = path if folder is None else model_file(folder)
    content = load_pickle(file)
    try:
        model = _model(content, VERSIONS.get(file.name, ""))
    except BadFile as error:
        raise BadFile(f"{file}: {error}") from error
    return model if folder is None else flame_parts.add(model, folder)


def _model(content: Any, version: str) -> FlameModel:
    """The model of the dictionary that a FLAME .pkl holds; unknown keys are ignored."""
    content = table(content, "FLAME model")
    template = numbers(content, "v_template", (None, 3))
    vertices = len(template)
    directions = numbers(content, "shapedirs", (vertices, 3, None))
    faces = indices(content, "f", (None, 3), vertices)
    model = FlameModel(
        template=template,
        **_split(directions),
        pose_basis=numbers(content, "posedirs", (vertices, 3, 9 * (JOINTS - 1))),
        joint_regressor=numbers(content, "J_regressor", (JOINTS, vertices)),
        skinning=_skinning(content, vertices),
        faces=faces,
        landmark_faces=None,
        landmark_barycentrics=None,
        contour_faces=None,
        contour_barycentrics=None,
        mediapipe_faces=None,
        mediapipe_barycentrics=None,
        mediapipe_indices=None,
        masks=None,
        uv=None,
        uv_faces=None,
        parents=_parents(content),
        expression_names=(),
        version="",
    )
    if np.abs(template).max() > LARGEST:
        raise BadFile(f"v_template reaches {np.abs(template).max():.3g}; a head in metres is expected")
    official = (vertices, len(faces)) == (VERTICES, FACES)
    return model.replace(version=version if version and official else _checksum(model))


def _checksum(model: FlameModel) -> str:
    digest = hashlib.sha256()
    for array in (model.template, model.shape_basis, model.expression_basis, model.pose_basis, model.faces):
        digest.update(np.asarray(array).tobytes())
    return f"flame_{digest.hexdigest()[:8]}"


def _split(directions: np.ndarray) -> dict[str, np.ndarray]:
    columns = directions.shape[2]
    if columns < SHORT_COLUMNS:
        raise BadFile(f"shapedirs has {columns} columns; {COLUMNS} or at least {SHORT_COLUMNS} are needed")
    full = columns >= COLUMNS
    first, last = (IDENTITY, COLUMNS) if full else (SHORT_IDENTITY, SHORT_COLUMNS)
    parts = {"shape_basis": directions[..., :first], "expression_basis": directions[..., first:last]}
    return {name: np.ascontiguousarray(part) for name, part in parts.items()}


def _skinning(content: dict, vertices: int) -> np.ndarray:
    weights = numbers(content, "weights", (vertices, JOINTS))
    error = np.abs(weights.sum(1) - 1).max()
    if error > 1e-3 or weights.min() < -1e-3:
        raise BadFile(f"weights (skinning) of a vertex do not sum to 1, off by {error:.2g}, or are negative")
    return weights


def _parents(content: dict) -> tuple[int, ...]:
    table = content.get("kintree_table")
    if not isinstance(table, np.ndarray) or table.shape != (2, JOINTS) or table.dtype.kind not in "iu":
        raise BadFile(f"kintree_table is no table of the parents of {JOINTS} joints")
    parents, joints = (tuple(int(number) for number in row) for row in table)
    if joints != tuple(range(JOINTS)):
        raise BadFile(f"kintree_table lists the joints {joints}, not 0 to {JOINTS - 1}")
    if parents[0] not in ROOTS or not all(0 <= parents[j] < j for j in range(1, JOINTS)):
        raise BadFile(f"a joint of kintree_table comes before its parent: {parents}")
    return (-1, *parents[1:])
