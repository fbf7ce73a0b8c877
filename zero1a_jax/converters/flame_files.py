"""The names of FLAME's files, as the official downloads and smplx have them. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from zero1a_jax.errors import Refused

# What one official download holds; the first of a line is the one that is meant.
DOWNLOADS = (
    {
        "generic_model.pkl": "flame2020",
        "female_model.pkl": "flame2020_female",
        "male_model.pkl": "flame2020_male",
    },
    {"flame2023.pkl": "flame2023", "flame2023_no_jaw.pkl": "flame2023_no_jaw"},
    {"flame2023_Open.pkl": "flame2023_open"},
    {"FLAME_NEUTRAL.pkl": ""},  # smplx's name for any of them
)
VERSIONS = {name: version for download in DOWNLOADS for name, version in download.items()}
STATIC = "flame_static_embedding.pkl"
DYNAMIC = "flame_dynamic_embedding.npy"
WITH_EYES = "landmark_embedding_with_eyes.npy"  # static and dynamic in one; used where those are missing
DECAS = "landmark_embedding.npy"  # the same of DECA, without eyes
MEDIAPIPE = "mediapipe_landmark_embedding.npz"
MASKS = "FLAME_masks.pkl"
TEMPLATE = "head_template_mesh.obj"


def model_file(folder: Path) -> Path:
    """The model in a folder.

    Raises:
      FileNotFoundError: there is none. ValueError: there are several versions, whose coefficients differ.
    """
    found = [[name for name in download if (folder / name).is_file()] for download in DOWNLOADS]
    firsts = [names[0] for names in found if names]
    if not firsts:
        raise FileNotFoundError(f"{folder} holds no FLAME model; expected one of {', '.join(VERSIONS)}")
    if len(firsts) > 1:
        raise Refused(f"{folder} holds several FLAME models ({', '.join(firsts)}); keep one")
    return folder / firsts[0]


def unfit(folder: Path) -> list[str]:
    """The landmark files without which a portrait cannot be fitted, as far as `folder` lacks them."""
    needed = ((MEDIAPIPE,), (DYNAMIC, WITH_EYES, DECAS))
    return [names[0] for names in needed if not any((folder / name).is_file() for name in names)]
