"""The embedded small model: its config and its shipped weights."""

from __future__ import annotations

import ast
import pathlib

import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from zero1a_jax.diffusion.config import DiffusionConfig

WEIGHTS = pathlib.Path(__file__).parents[1] / "assets" / "miniature.safetensors"


def miniature_config() -> DiffusionConfig:
    """128x128 frames in 16x16 latents; sizes chosen so that two CPU cores train it in an hour."""
    return DiffusionConfig(
        frame_size=128,
        condition="dense",
        vae_patch=4,
        vae_channels=(48, 64),
        vae_layers=1,
        vae_groups=8,
        vae_linear=True,
        latent_channels=48,
        latent_scale=1.0,
        unet_channels=(96, 80),
        unet_layers=1,
        down_attention=(False, True),
        up_attention=(True, True),
        unet_heads=2,
        unet_feedforward=2,
        groups=8,
        context_channels=64,
        position_table=True,
        precondition=True,
        shared_unets=True,
        reference_pose=True,
        motion_levels=(False, True),
        motion_heads=4,
        motion_attentions=1,
        motion_feedforward=2,
        motion_least=2,
        pose_patch=4,
        pose_channels=(64, 96),
        pose_kernels=(3, 4),
        pose_strides=(1, 2),
        pose_frequencies=4,
        pose_attention=False,
        pose_norm="none",
        clip_size=64,
        clip_patch=16,
        clip_channels=64,
        clip_feedforward=128,
        clip_layers=2,
        clip_heads=2,
    )


def load_miniature(path: str | pathlib.Path | None = None) -> tuple[DiffusionConfig, dict]:
    """The miniature's config and parameters (float32), shipped or from another file of the same sizes.

    Raises ValueError where the file is missing or was written for another config.
    """
    file = pathlib.Path(path) if path else WEIGHTS
    if not file.is_file():
        raise ValueError(
            f"{file} is missing: train it with python -m experiments.pretrain, or restore it from git."
        )
    config = miniature_config()
    with safe_open(file, "numpy") as stream:
        written = (stream.metadata() or {}).get("config")
    if _config_of(written) != config:
        raise ValueError(f"{file} was written for another config than the miniature's: export it again.")
    tensors = load_file(file)
    tree = traverse_util.unflatten_dict(
        {tuple(name.split("/")): jnp.asarray(tensor, jnp.float32) for name, tensor in tensors.items()}
    )
    return config, tree


def save_miniature(params: dict, path: str | pathlib.Path | None = None) -> pathlib.Path:
    """Writes parameters as float16 safetensors, by default over the shipped ones."""
    file = pathlib.Path(path) if path else WEIGHTS
    part = file.with_suffix(".tmp")
    leaves = {name: np.ascontiguousarray(leaf, np.float16) for name, leaf in _flat(params).items()}
    save_file(leaves, part, metadata={"config": repr(miniature_config())})
    part.replace(file)
    return file


def _config_of(text: str | None) -> DiffusionConfig | None:
    """The config whose repr is `text`; options that are newer than the text have their defaults."""
    try:
        call = ast.parse(text or "", mode="eval").body
        values = {option.arg: ast.literal_eval(option.value) for option in getattr(call, "keywords", ())}
        return DiffusionConfig(**values) if values else None
    except (SyntaxError, ValueError, TypeError):  # another text, or options that are gone
        return None


def _flat(tree: dict) -> dict:
    return {"/".join(path): leaf for path, leaf in traverse_util.flatten_dict(tree).items()}
