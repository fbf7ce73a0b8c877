"""What --image and --mask mean: a picture with its mask, the folder of a prepared portrait, or a seed.

Importing this brings no jax, so that a wrong picture is reported at once.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from zero1a_jax import heic
from zero1a_jax.config import Input, colour
from zero1a_jax.provenance import Provenance, of_seed

if TYPE_CHECKING:
    from zero1a_jax.preprocess import Detector
    from zero1a_jax.types import FlameModel, Portrait

SYNTHETIC = "synthetic:"
MAX_PIXELS = 64_000_000
# The folder that experiments.prepare writes: what a run reads of it, and what a user may add.
PICTURE, MATTE, PARAMETERS, TRACKER = "picture.png", "matte.png", "portrait.npz", "tracker.npz"


def is_synthetic(image: str) -> bool:
    """Whether --image asks for a rendered person."""
    return image.startswith(SYNTHETIC)


def files(given: Input) -> list[Path]:
    """The files that decide the portrait, those that are there."""
    image = Path(given.image)
    if image.is_dir():
        found = [image / name for name in (PICTURE, MATTE, PARAMETERS, TRACKER)]
    else:
        found = [image] + ([Path(given.mask)] if given.mask else [])
    return [path for path in found if path.is_file()]


def problems(given: Input) -> list[str]:
    """Why the picture, its mask or the prepared folder cannot be used, as far as headers tell."""
    folder = Path(given.image)
    if folder.is_dir():
        missing = [name for name in (PICTURE, MATTE, PARAMETERS) if not (folder / name).is_file()]
        found = [f"{folder} lacks {' and '.join(missing)}: make it with experiments.prepare."] * bool(missing)
        for name in (PICTURE, MATTE):
            if name not in missing:
                found += picture_problems(folder / name)
        if given.mask or given.face_index:
            found.append("--mask and --face_index are for pictures: in a prepared folder edit matte.png.")
        return found
    if is_synthetic(given.image):
        seed = given.image.removeprefix(SYNTHETIC)
        sentence = f"--image={given.image}: the seed after {SYNTHETIC} must be a number."
        found = [] if seed.isdigit() else [sentence]
    else:
        found = picture_problems(folder)
    return found + (picture_problems(Path(given.mask), "--mask") if given.mask else [])


def picture_problems(path: Path, flag: str = "--image") -> list[str]:
    """Whether Pillow can open a picture; its pixels are not decoded yet."""
    if path.is_dir():
        return [f"{path} is a folder: {flag} needs a picture."]
    if not path.is_file():
        return [f"There is no picture at {path}: check {flag}."]
    heic.register()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is judged here
            with Image.open(path) as picture:
                width, height = picture.size
                picture.verify()
    except Image.DecompressionBombError:
        return [f"{path} has more than {MAX_PIXELS // 10**6} megapixels: reduce it first."]
    except UnidentifiedImageError:
        return [f"{path} is not a picture that can be read: {heic.advice(path) or 'use PNG or JPEG.'}"]
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        return [f"{path} is damaged or incomplete ({error}): use another copy."]
    if width * height > MAX_PIXELS:
        return [f"{path} has more than {MAX_PIXELS // 10**6} megapixels: reduce it first."]
    return []


def source(image: str) -> Any:
    """What is prepared for --image: the path of a picture, or the pixels of a rendered person."""
    if not is_synthetic(image):
        return image
    from zero1a_jax.sources import synthetic_portrait

    return synthetic_portrait.picture(seed(image))


def seed(image: str) -> int:
    """SEED of synthetic:SEED."""
    return int(image.removeprefix(SYNTHETIC))


def provenance(image: str) -> Provenance | None:
    """What pictures of the portrait say about themselves: a rendered person is synthetic, with the person's
    seed. None for a photograph: cut out, or with lines and a clay head over it, it still shows somebody real.
    """
    return of_seed(seed(image)) if is_synthetic(image) else None


def caption(given: Input) -> str:
    """What the portrait shows: the user's words, else those for a rendered person's looks, else nothing."""
    if given.caption.strip() or not is_synthetic(given.image):
        return given.caption.strip()
    from zero1a_jax import synthetic
    from zero1a_jax.sources import synthetic_portrait

    return synthetic.caption(synthetic_portrait.person(seed(given.image))[1])


def load(given: Input, model: FlameModel, detector: Detector) -> tuple[Portrait, tuple[str, ...]]:
    """The fitted portrait, and sentences that the user should read.

    Raises:
      Refused: the picture is damaged or shows no face, or the folder does not fit the head.
    """
    from zero1a_jax import preprocess
    from zero1a_jax.sources import prepared_folder, synthetic_portrait

    if given.fit == "true":
        behind = np.array(colour(given.background), np.float32)
        return synthetic_portrait.true_portrait(seed(given.image), size=given.size, background=behind), ()
    if Path(given.image).is_dir():
        return prepared_folder.read(given.image, model, size=given.size, background=given.background)
    result = preprocess.prepare_all(
        source(given.image),
        model=model,
        detector=detector,
        size=given.size,
        background=given.background,
        mask=given.mask or None,
        segmenter=preprocess.find_segmenter(given.assets or None),
        face_index=given.face_index,
        accept_unsure=given.accept_unsure,
    )
    return result.portrait, (*preprocess.assets_notes(given.assets or None), *result.notes)
