"""Sizes and places of pretraining. No jax."""

from __future__ import annotations

from dataclasses import dataclass

from zero1a_jax.config import option

MODES = ("data", "vae", "spatial", "motion", "export", "evaluate")


@dataclass(frozen=True)
class Miniature:
    """Training the miniature."""

    mode: str = option("", "What to do, see above.", choices=("", *MODES))
    workdir: str = option("", "Folder of pictures, checkpoints and logs.")
    seed: int = option(0, "Fixes identities, views, batches and noise.", low=0)
    identities: int = option(3000, "People to render and to train on.", low=1)
    clips: int = option(300, "People in moving clips, for the motion modules.", low=1)
    steps: int = option(6000, "Training steps of this mode, those of earlier runs included.", low=1)
    rate: float = option(0.0, "Peak learning rate; 0 = the stage's own.", low=0.0)
    start: str = option("", "Weights (.safetensors) to go on from instead of random ones.")
    minutes: float = option(
        0.0, "Sets the steps from the speed, to end after this time instead; 0 = by steps.", low=0
    )
    out: str = option("", "Where export writes, and what evaluate measures; else the library's own file.")
    overwrite: bool = option(False, "Let export replace also a file that others wrote or edited.")


@dataclass(frozen=True)
class LandmarkNet:
    """Training the embedded landmark net."""

    workdir: str = option("runs/landmarks", "Folder of renders, checkpoints and weights.")
    seed: int = option(1, "Of renders, initialisation and augmentation.", low=0)
    renders: int = option(6000, "Training pictures.", low=1)
    heldout: int = option(256, "Pictures of other people, to measure on.", low=32)
    steps: int = option(6000, "Optimiser steps.", low=1)
    batch: int = option(32, "Crops a step.", low=1, high=1024)
    rate: float = option(2e-3, "Peak learning rate.", low=0.0)
    start: str = option("", "Weights (.safetensors) to begin with instead of random ones.")
    ship: bool = option(False, "Write the weights into the package's assets.")


@dataclass(frozen=True)
class TexturePrior:
    """Training the texture prior."""

    workdir: str = option("runs/texture", "Folder of textures, checkpoint and log.")
    seed: int = option(0, "Of people, portraits, initialisation and batches.", low=0)
    people: int = option(10000, "People to train on.", low=1)
    heldout: int = option(64, "Other people, to measure on.", low=1)
    steps: int = option(3600, "Optimiser steps.", low=1)
    batch: int = option(8, "People a step.", low=1, high=256)
    rate: float = option(2e-3, "Peak learning rate.", low=0.0)
    start: str = option("", "Weights (.safetensors) to begin with instead of random ones.")
    ship: bool = option(False, "Write the weights into the package's assets.")
