"""Portrait video diffusion with AniPortrait's structure: a portrait and condition images to a video."""

from zero1a_jax.diffusion import schedule as schedule
from zero1a_jax.diffusion.adapt import adapt as adapt
from zero1a_jax.diffusion.config import DiffusionConfig as DiffusionConfig
from zero1a_jax.diffusion.config import emoji_config as emoji_config
from zero1a_jax.diffusion.config import official as official
from zero1a_jax.diffusion.miniature import load_miniature as load_miniature
from zero1a_jax.diffusion.miniature import miniature_config as miniature_config
from zero1a_jax.diffusion.model import Reference as Reference
from zero1a_jax.diffusion.model import VideoDiffusion as VideoDiffusion
from zero1a_jax.diffusion.model import build as build
from zero1a_jax.diffusion.model import cast as cast
from zero1a_jax.diffusion.resized import resized as resized
