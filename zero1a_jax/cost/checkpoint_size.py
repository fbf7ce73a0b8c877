"""How large a run's checkpoint is. No jax: this is known before anything starts."""

from __future__ import annotations

from zero1a_jax.config import Config


def checkpoint_bytes(config: Config, gaussians: int = 20_000) -> int:
    """Size of a checkpoint: the dataset as uint8, and the avatar with two moments."""
    curriculum, side = config.curriculum, config.input.size
    samples = 1 + curriculum.spatial_samples + curriculum.synthetic_samples + curriculum.real_samples
    terms = 3 * (config.update.sh_degree + 1) ** 2
    return samples * curriculum.frames * side * side * 4 + gaussians * 4 * 3 * (11 + terms)
