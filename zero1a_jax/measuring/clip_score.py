"""CLIP score: how alike CLIP finds a picture and the true one, or a picture and a sentence.

transformers' Flax classes with published weights in a folder, such as the three models of the paper's Table 1
(openai/clip-vit-large-patch14, -base-patch16, -base-patch32). Scores are cosines, as that table has them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from zero1a_jax.converters import clip
from zero1a_jax.errors import Refused
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.measuring.differences import Judge


def judge(folder: str | os.PathLike, text: str = "") -> Judge:
    """clip_image: the cosine between picture and truth; clip_text, where `text` is given: with that sentence.

    Raises:
      Refused: files are missing or no CLIP model; one sentence says which.
    """
    embed_image, embed_text = encoders(folder)
    sentence = embed_text(text) if text else None

    def score(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float | None]:
        del mask
        own = embed_image(image)
        found: dict[str, float | None] = {"clip_image": float(own @ embed_image(truth))}
        if sentence is not None:
            found["clip_text"] = float(own @ sentence)
        return found

    return score


def encoders(
    folder: str | os.PathLike,
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[str], np.ndarray]]:
    """(of images [H, W, 3] in 0..1, of sentences): unit vectors [D]. Raises Refused as `judge`."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPTokenizerFast, FlaxCLIPModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    try:
        config, params = clip.load(folder)
    except (FileNotFoundError, ValueError) as error:
        raise Refused(f"--clip: {error}") from error
    model = FlaxCLIPModel(CLIPConfig.from_dict(config), _do_init=False)
    _check(Path(folder), model, params)
    try:
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        tokenizer = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        what = "preprocessor_config.json or tokenizer.json, as transformers publishes CLIP"
        raise Refused(f"--clip: {folder} lacks {what}") from error
    length = model.config.text_config.max_position_embeddings
    of_image = jax.jit(lambda p, pixels: model.get_image_features(pixels, params=p))
    of_text = jax.jit(lambda p, ids, mask: model.get_text_features(ids, attention_mask=mask, params=p))

    def image(picture: np.ndarray) -> np.ndarray:
        pixels = processor(images=as_uint8(np.asarray(picture)), return_tensors="np")["pixel_values"]
        return _unit(of_image(params, pixels)[0])

    def sentence(text: str) -> np.ndarray:
        tokens = tokenizer(
            text, padding="max_length", max_length=length, truncation=True, return_tensors="np"
        )
        return _unit(of_text(params, tokens["input_ids"], tokens["attention_mask"])[0])

    return image, sentence


def _unit(vector: jax.Array) -> np.ndarray:
    numbers = np.asarray(vector, np.float64)
    return numbers / np.linalg.norm(numbers)


def _check(folder: Path, model: Any, params: dict) -> None:
    """Raises Refused where the weights are not those that config.json describes."""
    wanted = {".".join(key): leaf.shape for key, leaf in flatten_dict(model.params_shape_tree).items()}
    given = {".".join(key): leaf.shape for key, leaf in flatten_dict(params).items()}
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            what = f"{given.get(name, 'nothing')} where config.json asks for {wanted.get(name, 'nothing')}"
            raise Refused(f"--clip: the weights in {folder} have {name} of shape {what}")
