"""Which head a command uses: the embedded one, or FLAME from the user's folder. And what moves it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from third_party.converters import arkit as arkit_converter
from third_party.converters import flame as flame_converter
from third_party.converters import flame_files, talkshow
from zero1a_jax import drive
from zero1a_jax import flame as flame_room
from zero1a_jax.types import ArkitMap, Array, FlameModel, Motion

TEETH = 120  # vertices that flame.add_teeth adds at the end
NEEDED = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen")  # a table without these would drive a mask


def load(folder: str | os.PathLike = "") -> FlameModel:
    """The embedded head, or FLAME from `folder` (or a .pkl alone), with teeth where its landmarks are known.

    Raises FileNotFoundError or ValueError with one sentence where the folder cannot be used.
    """
    if not str(folder):
        return flame_room.procedural_head()
    model = flame_converter.load(folder)
    if model.landmark_faces is None:
        return model
    return flame_room.add_teeth(model, *flame_room.lip_rings(model))


def file(folder: str | os.PathLike) -> Path:
    """The model's file that `load` reads. Raises as `load`."""
    path = Path(folder)
    return flame_files.model_file(path) if path.is_dir() else path


def arkit(model: FlameModel, path: str | os.PathLike = "") -> ArkitMap | None:
    """What ARKit's shapes ask of a head without such names: from the user's table at `path`, else by least
    squares from what they do to the embedded head. None for the embedded head itself, and for a head whose
    landmarks are not known.

    Raises FileNotFoundError or ValueError with one sentence where the table does not suit the head.
    """
    if model.expression_names:
        if str(path):
            raise ValueError(f"--arkit={path} is for a FLAME head: give --flame too, or leave it out.")
        return None
    if not str(path):
        if model.mediapipe_indices is None:
            return None
        embedded = flame_room.procedural_head()
        return drive.arkit_map(embedded.expression_names, embedded, model)
    table = arkit_converter.load(path)
    missing = [name for name in NEEDED if name not in table.names]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: a face is not driven without.")
    if table.deltas is not None:
        vertices, meant = len(model.template), table.deltas.shape[1]
        if vertices not in (meant, meant + TEETH):
            raise ValueError(f"{path} is for {meant} vertices and teeth, the head has {vertices} in all.")
        return drive.arkit_from_deltas(table.names, table.deltas, model)
    return _coefficients(table, model, path)


def _coefficients(table: arkit_converter.ArkitTable, model: FlameModel, path: str | os.PathLike) -> ArkitMap:
    """A table of coefficients for the head that they were made for; fewer of them count as zeros."""
    if table.version and table.version != model.version:
        if model.version in flame_files.VERSIONS.values():
            raise ValueError(f"{path} is for {table.version}, the head is {model.version}: they differ.")
        print(
            f"{path} is for {table.version}; whether the head {model.version} is that, its file does not say"
        )
    expression, count = np.asarray(table.expression), model.expression_basis.shape[2]
    if expression.shape[1] > count:
        raise ValueError(f"{path} has {expression.shape[1]} coefficients a shape, the head has {count}.")
    padded = np.pad(expression, ((0, 0), (0, count - expression.shape[1])))
    return ArkitMap(expression=padded, jaw=table.jaw, eyes=table.eyes, names=table.names)


def load_motion(
    path: str | os.PathLike,
    model: FlameModel,
    *,
    arkit: ArkitMap | None = None,
    shape: Array | None = None,
    fps: float | None = None,
    expression: Literal["match", "drop"] = "match",
    root: Literal["keep", "drop"] = "keep",
) -> Motion:
    """A motion for `model` from any file that this project reads.

    Those of drive.load_motion, whose arguments and errors these are; .pkl of SHOW and .npy of TalkSHOW (at 30
    frames a second unless `fps` says else). ARKit's shapes drive heads without such names by `arkit`.
    """
    suffix = Path(path).suffix.lower()
    if suffix in (".pkl", ".npy"):
        motion = talkshow.load(path, fps=fps or talkshow.FPS)
    elif suffix == ".csv" and not model.expression_names:
        motion = drive.livelink_motion(drive.read_livelink(path, fps=fps or 60.0), model, arkit=arkit)
    else:
        return drive.load_motion(path, model, shape=shape, fps=fps, expression=expression, root=root)
    return drive.retarget(motion, model, shape=shape, expression=expression, root=root)
