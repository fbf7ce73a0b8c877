"""What --arkit means: what ARKit's shapes ask of a head whose own expressions have no such names."""

from __future__ import annotations

import os

import numpy as np

from zero1a_jax import drive
from zero1a_jax.converters import arkit, flame_files
from zero1a_jax.errors import Refused
from zero1a_jax.flame import procedural_head
from zero1a_jax.types import ArkitMap, FlameModel

TEETH = 120  # vertices that flame.add_teeth adds at the end
NEEDED = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen")  # a table without these would drive a mask


def load(model: FlameModel, path: str | os.PathLike = "") -> ArkitMap | None:
    """What ARKit's shapes ask of a head without such names: from the user's table at `path`, else by least
    squares from what they do to the embedded head. None for the embedded head itself, and for a head whose
    landmarks are not known.

    Raises FileNotFoundError or ValueError with one sentence where the table does not suit the head.
    """
    if model.expression_names:
        if str(path):
            raise Refused(f"--arkit={path} is for a FLAME head: give --flame too, or leave it out.")
        return None
    if not str(path):
        if model.mediapipe_indices is None:
            return None
        embedded = procedural_head()
        return drive.arkit_map(embedded.expression_names, embedded, model)
    table = arkit.load(path)
    missing = [name for name in NEEDED if name not in table.names]
    if missing:
        raise Refused(f"{path} lacks {', '.join(missing)}: a face is not driven without.")
    if table.deltas is not None:
        vertices, meant = len(model.template), table.deltas.shape[1]
        if vertices not in (meant, meant + TEETH):
            raise Refused(f"{path} is for {meant} vertices and teeth, the head has {vertices} in all.")
        return drive.arkit_from_deltas(table.names, table.deltas, model)
    return _coefficients(table, model, path)


def _coefficients(table: arkit.ArkitTable, model: FlameModel, path: str | os.PathLike) -> ArkitMap:
    """A table of coefficients for the head that they were made for; fewer of them count as zeros."""
    if table.version and table.version != model.version:
        if model.version in flame_files.VERSIONS.values():
            raise Refused(f"{path} is for {table.version}, the head is {model.version}: they differ.")
        print(
            f"{path} is for {table.version}; whether the head {model.version} is that, its file does not say"
        )
    expression, count = np.asarray(table.expression), model.expression_basis.shape[2]
    if expression.shape[1] > count:
        raise Refused(f"{path} has {expression.shape[1]} coefficients a shape, the head has {count}.")
    padded = np.pad(expression, ((0, 0), (0, count - expression.shape[1])))
    return ArkitMap(expression=padded, jaw=table.jaw, eyes=table.eyes, names=table.names)
