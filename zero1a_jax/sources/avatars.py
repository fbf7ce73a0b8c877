"""What --avatar means: an exported avatar, loaded with the head that it was made on."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from zero1a_jax import outputs
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.sources import arkit_table, gaussianavatars, heads
from zero1a_jax.types import ArkitMap, Avatar, FlameModel

_BLUR = 0.08  # pixels squared, of the frames that an avatar learned from
SLOTS = 4096  # avatars are padded to a multiple of it, so that those of a table share their programs


class Loaded(NamedTuple):
    """What an export folder holds, ready to be posed."""

    avatar: Avatar
    model: FlameModel
    meta: dict[str, Any]
    arkit: ArkitMap | None  # for a head without ARKit names


def load(folder: str | Path, flame: str = "", arkit: str = "") -> Loaded:
    """Reads an export folder, or the folder of a finished run, with the head that it was made on.

    What GaussianAvatars trained is read too: its .ply with flame_param.npz beside it, or the folder of it.
    `flame` is the folder of a FLAME model; without it the head is the embedded one. `arkit` is the user's
    own table for it, see arkit_table.load.

    Raises:
      FileNotFoundError: no export there. ValueError: damaged, or made on another head.
    """
    folder = Path(folder)
    if (folder / "export").is_dir():
        folder = folder / "export"
    model = heads.load(flame)
    if foreign := gaussianavatars.find(folder):
        avatar, model, meta = gaussianavatars.load(foreign, model)
    else:
        avatar, meta = outputs.load_avatar(folder)
        outputs.check_model(avatar, meta, model)
        model = gaussianavatars.displaced(model, meta)
    return Loaded(padded(avatar), model, meta, arkit_table.load(model, arkit))


def blur_for(loaded: Loaded, size: int) -> float:
    """The blur in metres (`avatar.pose_blurred`) with which pictures of `size` pixels a side show an avatar.

    0 for pictures no larger than the frames that it learned from, or where nobody knows their size.
    """
    learned = int(loaded.meta.get("size", 0))
    if not 0 < learned < size:
        return 0.0
    camera = portrait_camera(np.zeros(3), np.zeros(()), np.zeros(()), learned)
    pixel = 1.0 / float(camera.focal[0])  # metres, on a head that is 1 m away
    return pixel * math.sqrt(_BLUR * (1.0 - (learned / size) ** 2))


def finer_for(loaded: Loaded, size: int) -> int:
    """How many pixels along each side are drawn for one of a picture of `size` pixels a side.

    1 for pictures no smaller than the frames that the avatar learned from. Smaller ones are means: Gaussians
    that are widened to such a picture's larger pixels would blur it, and grow.
    """
    return max(1, math.ceil(int(loaded.meta.get("size", 0)) / size))


def padded(avatar: Avatar) -> Avatar:
    """The avatar with dead Gaussians added up to a multiple of SLOTS."""
    count = len(np.asarray(avatar.alive))
    extra = -count % SLOTS
    grown = jax.tree.map(
        lambda x: np.concatenate([x, np.repeat(np.asarray(x)[:1], extra, 0)]), avatar.gaussians
    )
    return dataclasses.replace(
        avatar,
        gaussians=grown,
        face_ids=np.concatenate([avatar.face_ids, np.zeros(extra, np.int32)]),
        alive=np.concatenate([avatar.alive, np.zeros(extra, bool)]),
    )
