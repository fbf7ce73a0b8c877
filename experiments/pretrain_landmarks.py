"""Trains the embedded landmark net on random synthetic people and writes its weights.

    python -m experiments.pretrain_landmarks --workdir=runs/landmarks

About 20 minutes of one CPU core for 6,000 renders and 6,000 steps of 32 crops. The renders are kept in the
working folder, training goes on from its last checkpoint there (with
other crops than an unbroken run), and --ship writes
zero1a_jax/assets/landmark_net.safetensors. Reproducible from --seed on one machine.
"""

from __future__ import annotations

from zero1a_jax.commandline import command
from zero1a_jax.pretraining.options import LandmarkNet


def main(options: LandmarkNet) -> None:
    """Renders what is missing, trains on from the last checkpoint, writes the weights."""
    from zero1a_jax.pretraining import landmark_training

    landmark_training.run(options)


if __name__ == "__main__":
    command.run(LandmarkNet, main, __doc__)
