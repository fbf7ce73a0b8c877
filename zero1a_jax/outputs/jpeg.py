"""Pictures as JPEG, for many small ones: with what they say about where they come from."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from zero1a_jax.outputs import label, png
from zero1a_jax.provenance import Provenance


def encode(
    image: np.ndarray, provenance: Provenance | None = None, *, quality: int = 85, comment: str = ""
) -> bytes:
    """An image, uint8 [H, W, 3], as the bytes of a .jpg.

    `provenance` is what its XMP says, and whether it is labelled; `comment` is any text that goes along.
    """
    about: dict = {}
    if provenance is not None:
        image = label.draw(image) if provenance.label else image
        about["xmp"] = png.xmp(provenance).encode()
    if comment:
        about["comment"] = comment.encode()
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, **about)
    return buffer.getvalue()
