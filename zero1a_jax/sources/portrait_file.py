"""A fitted portrait as one .npz, which a run keeps and a prepared folder has."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import jax
import numpy as np

from zero1a_jax.types import Camera, FlameParams, Portrait


def arrays(portrait: Portrait) -> dict[str, np.ndarray]:
    """A portrait as named arrays, such as "flame.jaw": what portrait.npz holds."""
    leaves = jax.tree_util.tree_leaves_with_path(portrait)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def read(path: Path | BinaryIO) -> Portrait:
    """The portrait in the .npz that numpy.savez made of `arrays`."""
    with np.load(path, allow_pickle=False) as data:
        found = {name: data[name] for name in data.files}
    height, width = found["rgb"].shape[:2]
    camera = {name.split(".")[1]: value for name, value in found.items() if name.startswith("camera.")}
    flame = {name.split(".")[1]: value for name, value in found.items() if name.startswith("flame.")}
    return Portrait(
        rgb=found["rgb"],
        alpha=found["alpha"],
        landmarks=found["landmarks"],
        camera=Camera(**camera, height=height, width=width),
        flame=FlameParams(**flame),
    )
