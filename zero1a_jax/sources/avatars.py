"""What --avatar means: an exported avatar, loaded with the head that it was made on."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from zero1a_jax import outputs
from zero1a_jax.avatar import widened
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


def for_size(loaded: Loaded, size: int) -> Loaded:
    """The avatar for pictures of `size` pixels a side.

    Frames do not tell what is finer than their pixels: there Gaussians are needles, which larger pictures
    would show. So in those they are blurred until detail ends near where it ended in the frames. Pictures no
    larger than the frames, and avatars of which nobody knows their size, stay as they are. It is the
    smoothing filter of Mip-Splatting (Yu et al., arXiv 2311.16493), put on afterwards and weaker.
    """
    learned = int(loaded.meta.get("size", 0))
    if not 0 < learned < size:
        return loaded
    camera = portrait_camera(np.zeros(3), np.zeros(()), np.zeros(()), learned)
    pixel = 1.0 / float(camera.focal[0])  # metres, on a head that is 1 m away
    width = pixel * math.sqrt(_BLUR * (1.0 - (learned / size) ** 2))
    return loaded._replace(avatar=_widened(loaded.avatar, loaded.model, width))


_widened = jax.jit(widened)


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
