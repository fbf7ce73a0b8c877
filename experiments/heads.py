"""Which head a command uses: the embedded one, or FLAME from the user's folder. And motions for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from third_party.converters import flame as flame_converter
from third_party.converters import flame_files, talkshow
from zero1a_jax import drive
from zero1a_jax import flame as flame_room
from zero1a_jax.types import Array, FlameModel, Motion


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


def load_motion(
    path: str | os.PathLike,
    model: FlameModel,
    *,
    shape: Array | None = None,
    fps: float | None = None,
    expression: Literal["match", "drop"] = "match",
    root: Literal["keep", "drop"] = "keep",
) -> Motion:
    """A motion for `model` from any file that this project reads.

    Those of drive.load_motion, whose arguments and errors these are; .pkl of SHOW and .npy of TalkSHOW (at 30
    frames a second unless `fps` says else). ARKit's shapes drive heads without such names by what they do to
    the embedded head.
    """
    suffix = Path(path).suffix.lower()
    if suffix in (".pkl", ".npy"):
        motion = talkshow.load(path, fps=fps or talkshow.FPS)
    elif suffix == ".csv" and not model.expression_names:
        recording = drive.read_livelink(path, fps=fps or 60.0)
        matrix = drive.arkit_matrix(recording.names, flame_room.procedural_head(), model)
        motion = drive.livelink_motion(recording, model, matrix=matrix)
    else:
        return drive.load_motion(path, model, shape=shape, fps=fps, expression=expression, root=root)
    return drive.retarget(motion, model, shape=shape, expression=expression, root=root)
