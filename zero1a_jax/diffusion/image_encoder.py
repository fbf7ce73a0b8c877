"""The image encoder: transformers' Flax CLIP tower and a projection. The only file to know transformers.

transformers is imported when the first function is called, since the import takes seconds.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from zero1a_jax.diffusion.config import DiffusionConfig

Array = jax.Array
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@functools.cache
def _tower(config: DiffusionConfig):
    from transformers import CLIPVisionConfig
    from transformers.models.clip.modeling_flax_clip import FlaxCLIPVisionModule
    from transformers.utils import logging

    logging.set_verbosity_error()
    settings = CLIPVisionConfig(
        hidden_size=config.clip_channels,
        intermediate_size=config.clip_feedforward,
        num_hidden_layers=config.clip_layers,
        num_attention_heads=config.clip_heads,
        image_size=config.clip_size,
        patch_size=config.clip_patch,
        hidden_act=config.clip_activation,
        layer_norm_eps=1e-5,
    )
    return FlaxCLIPVisionModule(settings)


def init(key: Array, config: DiffusionConfig) -> dict:
    """Random parameters: {"tower", "projection" [clip_channels, context_channels]}."""
    first, second = jax.random.split(key)
    pixels = jnp.zeros((1, config.clip_size, config.clip_size, 3))
    shape = (config.clip_channels, config.context_channels)
    return {
        "tower": jax.jit(_tower(config).init)(first, pixels)["params"],
        "projection": jax.nn.initializers.lecun_normal()(second, shape),
    }


def preprocess(images: Array, config: DiffusionConfig) -> Array:
    """Images [B, H, W, 3] in 0..1 -> the tower's pixels [B, S, S, 3]: bicubic, normalised as CLIP.

    Images that are not square are squashed, as AniPortrait's pipeline for long videos does.
    """
    size = (images.shape[0], config.clip_size, config.clip_size, 3)
    resized = jax.image.resize(images, size, "cubic", antialias=True)
    return (jnp.clip(resized, 0.0, 1.0) - jnp.asarray(MEAN)) / jnp.asarray(STD)


def embed(params: dict, pixels: Array, config: DiffusionConfig) -> Array:
    """Preprocessed pixels [B, S, S, 3] -> image embeddings [B, context_channels], not normalised."""
    pooled = _tower(config).apply({"params": params["tower"]}, pixels).pooler_output
    return pooled @ params["projection"]
