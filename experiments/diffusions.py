"""Which portrait video diffusion a run uses: the embedded miniature, or AniPortrait from a folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from experiments import own_model
from third_party.converters import aniportrait
from zero1a_jax import diffusion


def sizes(folder: str | os.PathLike, size: int) -> diffusion.DiffusionConfig:
    """The config of the model in `folder` for frames of `size` pixels; reads no numbers. Raises as `load`."""
    if str(folder):
        found = aniportrait.sizes(folder)
        return diffusion.DiffusionConfig(frame_size=size, **dataclasses.asdict(found))
    config = diffusion.miniature_config()
    if config.frame_size != size:
        raise ValueError(f"--size={size} does not fit the diffusion: use {config.frame_size}.")
    return config


def load(folder: str | os.PathLike, size: int) -> tuple[diffusion.DiffusionConfig, dict]:
    """The config and the parameters of the model in `folder`, or of the miniature where that is empty.

    Raises ValueError with one sentence where files are missing or damaged, or `size` does not fit.
    """
    config = sizes(folder, size)
    return config, aniportrait.load(folder) if str(folder) else diffusion.load_miniature()[1]


def files(text: str) -> list[Path]:
    """The files that the model of --diffusion, a folder or module:function, comes from."""
    if own_model.named(text):
        own = own_model.file(text)
        return [own] if own else []
    return aniportrait.files(text) if text else []
