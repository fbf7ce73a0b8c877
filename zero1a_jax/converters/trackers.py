"""One face's FLAME parameters from another tracker's .npz, by the names of `flame_arrays`.

Trackers write dictionaries of tensors: numpy.savez(file, **{name: array}) of the one frame makes the file.
Global and neck rotations, translation and cameras are of the tracker's own world and are left out, as are
eyelids, which FLAME does not have.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from zero1a_jax.converters import flame_arrays
from zero1a_jax.errors import Refused
from zero1a_jax.flame.model import sized
from zero1a_jax.types import FlameModel, FlameParams


def load(path: str | os.PathLike, model: FlameModel) -> FlameParams:
    """The parameters of one face for `model`, without leading axes; rotation, neck and translation are 0.

    Missing coefficients are 0 and surplus ones are cut, as bases are ordered by variance; missing eyes look
    straight ahead.

    Raises:
      FileNotFoundError: nothing is there. Refused: not such a file, several frames, or coefficients of
        another head model; one sentence says which.
    """
    path = Path(path)
    data = flame_arrays.read(path)
    version = flame_arrays.told(data, path)[1] or "unknown"
    if version != model.version and (version != "unknown" or model.expression_names):
        of = "FLAME" if version == "unknown" else version
        raise Refused(
            f"{path} holds coefficients of {of}, but the head is {model.version}: give the right --flame"
        )
    found = flame_arrays.parts(data, path)
    for field in ("shape", "jaw"):
        if field not in found:
            names = " or ".join((*flame_arrays.NAMES[field], *(("pose",) if field == "jaw" else ())))
            raise Refused(f"{path} is of no known tracker, it lacks {names}")
    frames = len(found["expression"])
    if frames != 1:
        raise Refused(f"{path} holds {frames} frames; give the one frame of the portrait")
    widths = {"shape": np.shape(model.shape_basis)[2], "expression": np.shape(model.expression_basis)[2]}
    fitted = {field: sized(np.ravel(found[field]), width) for field, width in widths.items()}
    zero = np.zeros(3, np.float32)
    return FlameParams(
        **fitted,
        rotation=zero,
        neck=zero,
        jaw=found["jaw"][0],
        translation=zero,
        eyes=found["eyes"].reshape(2, 3) if "eyes" in found else np.zeros((2, 3), np.float32),
    )
