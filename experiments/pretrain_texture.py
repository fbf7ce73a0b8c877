"""Trains the texture prior on random synthetic people and measures it on others.

    python -m experiments.pretrain_texture --workdir=runs/texture

About an hour of one CPU core. The textures are kept in the working folder, training goes on from its last
checkpoint there, and --ship writes zero1a_jax/assets/texture_prior.safetensors. Reproducible from --seed on
one machine.
"""

from __future__ import annotations

from zero1a_jax.commandline import command
from zero1a_jax.pretraining.options import TexturePrior


def main(options: TexturePrior) -> None:
    """Renders what is missing, trains on from the last checkpoint, measures, writes the weights."""
    from zero1a_jax.pretraining import texture

    texture.run(options)


if __name__ == "__main__":
    command.run(TexturePrior, main, __doc__)
