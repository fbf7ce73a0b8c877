"""The word that tells people who look at a picture, where metadata are not seen or were lost."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zero1a_jax.provenance import SYNTHETIC

_SMALLEST, _OF_HEIGHT, _OF_WIDTH = 12, 16, 0.9  # pixels; one 16th of the height; most of the width


def draw(image: np.ndarray, text: str = SYNTHETIC) -> np.ndarray:
    """A copy of an image, uint8 [H, W, 3 or 4], with `text` in its lower left corner, white with a dark rim.

    So it is seen on any background. In frames too small for readable letters they are as large as fits.
    """
    height, width = image.shape[:2]
    size = max(_SMALLEST, height // _OF_HEIGHT)
    long = ImageFont.load_default(size).getlength(text)
    size = max(1, int(min(size, height, size * _OF_WIDTH * width / long)))
    picture = Image.fromarray(image)
    place, rim = (size / 3, height - size / 3), max(1, size // 10)
    style = {"fill": "white", "stroke_width": rim, "stroke_fill": "black"}
    ImageDraw.Draw(picture).text(place, text, font=ImageFont.load_default(size), anchor="ls", **style)
    return np.asarray(picture)
