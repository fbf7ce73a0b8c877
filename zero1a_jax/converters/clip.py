"""CLIP as transformers publishes it, in a folder: to the tree of its Flax classes, without PyTorch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax.converters import tensor_files
from zero1a_jax.converters.pickles.pickled import BadFile

STEMS = ("model", "pytorch_model")
TABLES = ("position_embedding", "token_embedding")


def load(folder: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
    """(config.json, parameters as FlaxCLIPModule has them, float32) of a folder with a whole CLIP model.

    Args:
      folder: with config.json and model.safetensors, or pytorch_model.bin.

    Raises:
      FileNotFoundError: a file is missing.
      BadFile (a ValueError): it is damaged or no CLIP model; the text names it.
    """
    folder = Path(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} lacks config.json, as transformers publishes CLIP")
    try:
        config = json.loads(path.read_text("utf-8"))
        parts = config["text_config"], config["vision_config"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(f"{path} is no CLIP model's: it needs a text_config and a vision_config") from error
    if not all(isinstance(part, dict) for part in parts):
        raise BadFile(f"{path} is no CLIP model's: it needs a text_config and a vision_config")
    weights = tensor_files.find(folder, STEMS)
    if weights is None:
        raise FileNotFoundError(f"{folder} lacks {STEMS[0]}.safetensors, the weights of CLIP")
    tree: dict[str, Any] = {}
    for key, value in tensor_files.read(weights).items():
        if key.endswith("position_ids"):  # of older files; a mere count
            continue
        *parents, leaf = _place(key)
        branch = tree
        for name in parents:
            branch = branch.setdefault(name, {})
        branch[leaf] = _turned(key, np.asarray(value, np.float32))
    return config, tree


def _place(key: str) -> list[str]:
    """Where a tensor stands in Flax's tree."""
    *parents, leaf = key.split(".")
    if leaf != "weight":
        return [*parents, leaf]
    if parents[-1] in TABLES:
        return [*parents, "embedding"]
    return [*parents, "scale" if "norm" in parents[-1] or "layrnorm" in parents[-1] else "kernel"]


def _turned(key: str, value: np.ndarray) -> np.ndarray:
    """PyTorch's order of axes to Flax's."""
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    if value.ndim == 2 and key.endswith(".weight") and key.split(".")[-2] not in TABLES:
        return value.T
    return value
