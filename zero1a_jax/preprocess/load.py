"""A picture file from a stranger to pixels: bounded, upright, eight bits, sRGB, or one clear sentence."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from zero1a_jax import heic
from zero1a_jax.errors import Refused

MAX_PIXELS = 64_000_000  # checked from the header, before anything is decoded
MAX_BYTES = 512 << 20
MAX_SIDE = 2048  # larger pictures are reduced: nothing after this needs more
MIN_SIDE = 32
LABELS = 64  # a mask whose brightest pixel is below holds numbers, not greys; apart by more, colours
BLACK = 16  # a mask of colours is black up to here: edges that were smoothed count as the person
# Raster formats that Pillow decodes itself. EPS and the like would start other programs.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF", "HEIF")
# Decoders that take seconds for a megapixel or a few: pixels that they may be given.
SLOW = {"ppm_plain": 1_000_000, "ppm": 1_000_000, "bmp_rle": 4_000_000, "jpeg2k": 32_000_000}
DAMAGE = (
    OSError,
    SyntaxError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    ValueError,
)


class Picture(NamedTuple):
    """rgb [H, W, 3] uint8; alpha [H, W] float32 in 0..1, None where all is opaque; and what the user should
    know of how it was read, a sentence each."""

    rgb: np.ndarray
    alpha: np.ndarray | None
    notes: tuple[str, ...] = ()


def load_image(source: str | os.PathLike | Image.Image | np.ndarray) -> Picture:
    """Reads a picture as eight-bit RGB.

    Args:
      source: a path, a Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4] (uint8, or floats in
        0..1). EXIF rotation is applied, an animation gives its first frame; grey, palette, CMYK and
        16-bit pictures are converted, and colour profiles are applied.

    Returns:
      The picture, upright. Its longer side is at most 2048 pixels.

    Raises:
      Refused: the file is missing, not a picture, damaged, above 64 megapixels (known before
        decoding), smaller than 32 pixels, or far longer than wide.
    """
    notes: list[str] = []
    if isinstance(source, np.ndarray):
        return _finish(_from_array(source), "the array", notes)
    path = None if isinstance(source, Image.Image) else Path(source)
    name = "the picture" if path is None else path.name
    with _one_sentence(name, path):
        image = source if isinstance(source, Image.Image) else _decode(Path(source), notes)
        return _finish(image, name, notes)


def load_mask(path: str | os.PathLike, shape: tuple[int, int]) -> np.ndarray:
    """A matte [H, W] float32 in 0..1 for a picture [H, W]: white, or opaque where there is transparency.

    Of two values the greater is white. Of numbers instead of greys, such as the labels of a face parser, all
    above 0 are white, and of colours, as a parser's picture has them, all but black.

    Raises Refused as `load_image`, and where its size is not the picture's.
    """
    rgb, alpha, _ = load_image(path)
    if rgb.shape[:2] != shape:
        (height, width), (rows, columns) = shape, rgb.shape[:2]
        raise Refused(
            f"The mask {Path(path).name} is {columns} x {rows} pixels, but the picture is "
            f"{width} x {height}: they must agree."
        )
    if alpha is not None:
        return alpha
    brightest = rgb.max(-1)
    levels = np.unique(brightest)
    if len(levels) == 2:
        return (brightest == levels[1]).astype(np.float32)
    if 0 < levels[-1] < LABELS:
        return (brightest > 0).astype(np.float32)
    if (brightest - rgb.min(-1)).max() > LABELS:  # far more than what JPEG makes of grey
        return (brightest > BLACK).astype(np.float32)
    return rgb.astype(np.float32).mean(-1) / 255.0


@contextmanager
def _one_sentence(name: str, path: Path | None = None) -> Iterator[None]:
    """Whatever a decoder trips over becomes one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # size is judged here, metadata quirks do not matter
            yield
    except Refused:
        raise
    except UnidentifiedImageError as error:
        why = heic.advice(path) if path else ""
        why = f": {why}" if why else " (use PNG or JPEG)."
        raise Refused(f"{name} is not a picture that can be read{why}") from error
    except Image.DecompressionBombError as error:
        raise Refused(_too_large(name)) from error
    except DAMAGE as error:
        raise Refused(f"{name} is damaged or incomplete: {_sentence(error)}") from error


def _decode(path: Path, notes: list[str]) -> Image.Image:
    """The first frame's pixels, after everything that can be told from headers and checksums."""
    if not path.is_file():
        raise Refused(f"There is no picture at {path}: check the path.")
    if path.stat().st_size > MAX_BYTES:
        raise Refused(f"{path.name} has more than {MAX_BYTES >> 20} MiB: reduce it first.")
    heic.register()
    formats = [name for name in FORMATS if name in _known_formats()]
    # Opened by ourselves: given a path, Pillow maps plain TIFFs and garbles those that EXIF turns.
    with open(path, "rb") as file, Image.open(file, formats=formats) as image:
        _check_size(image, path.name)
        image.verify()  # PNG's checksums, which decoding does not look at; ends the use of `image`
    with open(path, "rb") as file, Image.open(file, formats=formats) as image:
        _check_slow(image, path.name)
        image.seek(0)
        image.load()
        first = image.copy() if image.info.get("transparency") is None else _keyed(image)
        if image.format != "MPO" and getattr(image, "is_animated", False):  # phones' JPEGs carry extras
            notes.append(f"{path.name} holds several pictures: the first one is used.")
        return first


def _known_formats() -> frozenset[str]:
    Image.init()
    return frozenset(Image.OPEN)


def _keyed(image: Image.Image) -> Image.Image:
    """A picture whose palette, or one of whose colours, is transparent, with an alpha channel."""
    if not image.mode.startswith("I"):
        return image.convert("RGBA")
    opaque = np.asarray(image) != image.info["transparency"]
    keyed = _eight_bits(image).convert("LA")
    keyed.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
    return keyed


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Refused(_too_large(name, f" ({width} x {height})"))
    if min(width, height) < MIN_SIDE:
        raise Refused(f"{name} is only {width} x {height} pixels: at least {MIN_SIDE} a side are needed.")
    if max(width, height) * MIN_SIDE > min(width, height) * MAX_SIDE:
        raise Refused(f"{name} is {width} x {height} pixels, a mere strip: cut out the part with the face.")


def _check_slow(image: Image.Image, name: str) -> None:
    for tile in getattr(image, "tile", ()):
        if image.size[0] * image.size[1] > SLOW.get(tile[0], MAX_PIXELS):
            raise Refused(
                f"{name} is too large for {image.format} of its kind, which decodes slowly: "
                "save it as PNG or JPEG."
            )


def _too_large(name: str, size: str = "") -> str:
    return f"{name}{size} has more than {MAX_PIXELS // 1_000_000} megapixels: reduce it first."


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:120].rstrip(".") + "."


def _finish(image: Image.Image, name: str, notes: list[str]) -> Picture:
    _check_size(image, name)
    image = _upright(_eight_bits(image), name, notes)
    has_alpha = image.mode in ("La", "RGBa") or "A" in image.getbands() or "transparency" in image.info
    if image.mode == "P" or has_alpha:
        image = image.convert("RGBA" if has_alpha else "RGB")
    if max(image.size) > MAX_SIDE:
        scale = MAX_SIDE / max(image.size)
        width, height = (max(MIN_SIDE, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)  # Pillow weights colours by alpha
    rgb = np.array(_standard_colours(image, name, notes))
    alpha = np.asarray(image.getchannel("A")) if has_alpha else None
    if alpha is None or alpha.min() == 255:
        return Picture(rgb, None, tuple(notes))
    return Picture(rgb, alpha.astype(np.float32) / 255.0, tuple(notes))


def _upright(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except DAMAGE:
        notes.append(f"{name} has damaged EXIF data: it is taken as it lies.")
        return image


def _standard_colours(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """RGB as sRGB, by the picture's colour profile where it has another one that fits."""
    profile = image.info.get("icc_profile")
    if image.mode == "LAB":
        return _through(image, ImageCms.createProfile("LAB"))
    base = image if image.mode in ("L", "CMYK") else image.convert("RGB")
    if profile:
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "srgb" not in ImageCms.getProfileDescription(given).lower():
                base = _through(base, given)
        except (ImageCms.PyCMSError, *DAMAGE):
            notes.append(f"{name} has a colour profile that does not fit: it is not applied.")
    return base.convert("RGB")


def _through(image: Image.Image, profile: object) -> Image.Image:
    mapped = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")  # type: ignore[arg-type]
    assert mapped is not None
    return mapped


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey pictures of 16 and 32 bits and floats as eight bits; others unchanged."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise Refused("The picture holds values that are not finite numbers: save it as PNG.")
    top = values.max()
    if image.mode == "F":
        full = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else top
    else:
        full = 255.0 if top <= 255 else 65535.0 if top <= 65535 else top
    grey = Image.fromarray(np.clip(values / full * 255.0 + 0.5, 0, 255).astype(np.uint8))
    grey.info.update({key: value for key, value in image.info.items() if key != "transparency"})
    orientation = image.getexif().get(0x0112)
    if orientation:
        grey.getexif()[0x0112] = orientation
    return grey


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim not in (2, 3) or 0 in array.shape or array.shape[2:] not in ((), (3,), (4,)):
        raise Refused(f"A picture array is [H, W], [H, W, 3] or [H, W, 4], but this one is {array.shape}.")
    if array.dtype != np.uint8:
        floats = np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all()
        if not floats or array.min() < -0.01 or array.max() > 1.01:
            raise Refused("A picture array holds uint8, or finite floats in 0..1.")
        array = np.clip(array * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))
