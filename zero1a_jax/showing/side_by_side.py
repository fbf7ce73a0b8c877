"""The video that drives an avatar beside the avatar, each frame at its time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from zero1a_jax.image import film


def frames(driving: str | os.PathLike, images: Iterable[np.ndarray], fps: float) -> Iterator[np.ndarray]:
    """Yields `images` with the frame that the video shows at that time to their left, scaled to their height.

    Args:
      driving: the video; where it ends first its last frame stays.
      images: uint8 [H, W, 3], or [H, W, 4] with straight alpha. fps: their frames a second.

    Raises:
      FileNotFoundError, Refused: as `film.frames`.
    """
    shown = film.frames(driving)
    _, current = next(shown)
    following = next(shown, None)
    small: np.ndarray | None = None
    for index, image in enumerate(images):
        while following is not None and following[0] <= (index + 1e-3) / fps:
            current, small = following[1], None
            following = next(shown, None)
        if small is None:
            small = _scaled(current, image.shape[0], image.shape[2])
        yield np.concatenate([small, image], 1)


def _scaled(image: np.ndarray, height: int, channels: int) -> np.ndarray:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture.convert("RGBA" if channels == 4 else "RGB"))
