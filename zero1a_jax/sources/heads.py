"""What --flame means: the embedded head, or FLAME from the user's folder."""

from __future__ import annotations

import os
from pathlib import Path

from zero1a_jax.converters import flame, flame_files
from zero1a_jax.flame import add_teeth, lip_rings, procedural_head
from zero1a_jax.types import FlameModel


def load(folder: str | os.PathLike = "") -> FlameModel:
    """The embedded head, or FLAME from `folder` (or a .pkl alone), with teeth where its landmarks are known.

    Raises FileNotFoundError or ValueError with one sentence where the folder cannot be used.
    """
    if not str(folder):
        return procedural_head()
    model = flame.load(folder)
    if model.landmark_faces is None:
        return model
    return add_teeth(model, *lip_rings(model))


def file(folder: str | os.PathLike) -> Path:
    """The model's file that `load` reads. Raises as `load`."""
    path = Path(folder)
    return flame_files.model_file(path) if path.is_dir() else path
