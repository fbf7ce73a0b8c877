"""Trains and measures the miniature diffusion model.

  python -m experiments.pretrain --mode=MODE --workdir=FOLDER

Modes, in the order of use. Each resumes where it stopped, and the seed fixes all draws.
  data      renders random synthetic people into FOLDER/train (and clips, and the held-out people)
  vae       fits the linear encoder and trains the decoder network
  spatial   trains pose guider, image encoder and UNets on single frames; may run beside `vae`
  motion    trains the motion modules on clips, all else frozen
  export    writes the weights that the library ships, as float16 safetensors
  evaluate  measures them on held-out people; writes FOLDER/evaluation.json and a picture
"""

from __future__ import annotations

from zero1a_jax.commandline import command
from zero1a_jax.errors import Refused
from zero1a_jax.pretraining.options import Miniature


def main(options: Miniature) -> None:
    """Runs the stage that --mode names."""
    if not options.mode or not options.workdir:
        raise Refused("give --mode=MODE and --workdir=FOLDER")
    from zero1a_jax.pretraining import stages

    stages.run(options)


if __name__ == "__main__":
    command.run(Miniature, main, __doc__)
