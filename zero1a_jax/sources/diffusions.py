"""What --diffusion means: the embedded miniature, AniPortrait's weights in a folder, or module:function."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from zero1a_jax import diffusion
from zero1a_jax.config import Config
from zero1a_jax.converters import aniportrait
from zero1a_jax.sources import own_diffusion
from zero1a_jax.symgen import Diffusion


def load(config: Config, platform: str) -> tuple[Diffusion, Any]:
    """The run's video diffusion and its parameters.

    Args:
      config: the run's.
      platform: "cpu", "gpu" or "tpu", which decides what the UNets compute in.

    Raises:
      Refused: files are missing or damaged, or the user's own code fails.
    """
    text, size = config.input.diffusion, config.input.size
    if own_diffusion.named(text):
        model, params = own_diffusion.load(text, config.curriculum.frames)
        return diffusion.resized(model, size), params
    found, params = read(text, size)
    if config.refresh.pose_guider == "official":
        found = diffusion.official(found)
    dtype = dtype_of(config.refresh.dtype, platform=platform, miniature=not text)
    found = dataclasses.replace(found, dtype=dtype)
    return diffusion.resized(diffusion.build(found), size), diffusion.cast(found, params)


def dtype_of(choice: str, *, platform: str, miniature: bool) -> str:
    """What the UNets compute in for --dtype: "auto" is bfloat16 where it is fast and the model large."""
    if choice != "auto":
        return choice
    return "float32" if platform == "cpu" or miniature else "bfloat16"


def sizes(folder: str | os.PathLike, size: int) -> diffusion.DiffusionConfig:
    """The config of the model in `folder`, for frames of `size` pixels where it has no size of its own.

    Reads no numbers. Raises as `read`.
    """
    if str(folder):
        found = aniportrait.sizes(folder)
        return diffusion.DiffusionConfig(frame_size=size, **dataclasses.asdict(found))
    return diffusion.miniature_config()


def read(folder: str | os.PathLike, size: int) -> tuple[diffusion.DiffusionConfig, dict]:
    """The config and the parameters of the model in `folder`, or of the miniature where that is empty.

    Raises Refused with one sentence where files are missing or damaged.
    """
    config = sizes(folder, size)
    return config, aniportrait.load(folder) if str(folder) else diffusion.load_miniature()[1]


def files(text: str) -> list[Path]:
    """The files that the model of --diffusion, a folder or module:function, comes from."""
    if own_diffusion.named(text):
        own = own_diffusion.file(text)
        return [own] if own else []
    return aniportrait.files(text) if text else []
