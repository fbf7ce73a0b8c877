"""A picture file from a stranger to pixels: bounded, upright, eight bits, or one clear sentence."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000  # checked from the header, before anything is decoded
MAX_SIDE = 2048  # larger pictures are reduced: nothing after this needs more
MIN_SIDE = 32
# Raster formats that Pillow decodes itself. EPS and the like would start other programs.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "ICO", "AVIF")


def load_image(source: str | os.PathLike | Image.Image | np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a picture as eight-bit RGB.

    Args:
      source: a path, a Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4] (uint8, or floats in
        0..1). EXIF rotation is applied, an animation gives its first frame; grey, palette, CMYK and
        16-bit pictures are converted.

    Returns:
      rgb [H, W, 3] uint8 and alpha [H, W] float32 in 0..1, or None where the picture has no
      transparency. The longer side is at most 2048 pixels.

    Raises:
      ValueError: the file is missing, not a picture, damaged, above 64 megapixels (known before
        decoding) or smaller than 32 pixels.
    """
    if isinstance(source, np.ndarray):
        return _finish(_from_array(source), "the array")
    if isinstance(source, Image.Image):
        return _finish(source, "the picture")
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"There is no picture at {path}: check the path.")
    return _finish(_decode(path), path.name)


def _decode(path: Path) -> Image.Image:
    formats = [name for name in FORMATS if name in _known_formats()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # size is judged here, metadata quirks do not matter
            with Image.open(path, formats=formats) as image:
                _check_size(image, path.name)
                image.seek(0)
                image.load()
                return image.copy() if image.info.get("transparency") is None else image.convert("RGBA")
    except UnidentifiedImageError as error:
        raise ValueError(f"{path.name} is not a picture that can be read (use PNG or JPEG).") from error
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large(path.name)) from error
    except (OSError, SyntaxError, EOFError, MemoryError, struct.error, zlib.error, LookupError,
            ArithmeticError, TypeError, AttributeError, AssertionError) as error:  # fmt: skip
        raise ValueError(f"{path.name} is damaged or incomplete: {_sentence(error)}") from error


def _known_formats() -> frozenset[str]:
    Image.init()
    return frozenset(Image.OPEN)


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(_too_large(name, f" ({width} x {height})"))
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{name} is only {width} x {height} pixels: at least {MIN_SIDE} a side are needed.")


def _too_large(name: str, size: str = "") -> str:
    return f"{name}{size} has more than {MAX_PIXELS // 1_000_000} megapixels: reduce it first."


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:120].rstrip(".") + "."


def _finish(image: Image.Image, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    _check_size(image, name)
    image = ImageOps.exif_transpose(_eight_bits(image))
    has_alpha = "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info
    image = image.convert("RGBA" if has_alpha else "RGB")
    if max(image.size) > MAX_SIDE:
        scale = MAX_SIDE / max(image.size)
        width, height = (max(MIN_SIDE, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)  # Pillow weights colours by alpha
    pixels = np.asarray(image)
    if not has_alpha or pixels[..., 3].min() == 255:
        return np.ascontiguousarray(pixels[..., :3]), None
    return np.ascontiguousarray(pixels[..., :3]), pixels[..., 3].astype(np.float32) / 255.0


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey pictures of 16 and 32 bits and floats as eight bits; others unchanged."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    top = values.max()
    if image.mode == "F":
        full = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else top
    else:
        full = 255.0 if image.mode == "I" and top <= 255 else 65535.0 if top <= 65535 else top
    grey = Image.fromarray(np.clip(values / full * 255.0 + 0.5, 0, 255).astype(np.uint8))
    grey.info.update(image.info)
    orientation = image.getexif().get(0x0112)
    if orientation:
        grey.getexif()[0x0112] = orientation
    return grey


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)):
        raise ValueError(f"A picture array is [H, W], [H, W, 3] or [H, W, 4], but this one is {array.shape}.")
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise ValueError("A picture array holds uint8, or finite floats in 0..1.")
        array = np.clip(array * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))
