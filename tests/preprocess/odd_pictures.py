"""Odd and damaged picture files from a seed, and what a reader may make of each."""

import dataclasses
import io

import numpy as np
from PIL import Image, ImageCms

from zero1a_jax.preprocess.load import FORMATS

ORIENTATION = 0x0112
TURNS = {
    1: lambda a: a,
    3: lambda a: np.rot90(a, 2),
    6: lambda a: np.rot90(a, -1),
    8: np.rot90,
    2: lambda a: a[:, ::-1],
    4: lambda a: a[::-1],
}
MODES = {
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "P+t", "L+t", "I;16+t", "APNG"),
    "JPEG": ("RGB", "L", "CMYK", "YCbCr", "progressive"),
    "MPO": ("RGB",),
    "WEBP": ("RGB", "RGBA", "animated"),
    "GIF": ("P", "L", "P+t", "animated"),
    "BMP": ("RGB", "L", "P", "1"),
    "TIFF": ("RGB", "RGBA", "L", "CMYK", "LAB", "F", "I", "I;16", "deflate", "pages"),
    "PPM": ("RGB", "L", "1", "plain", "I;16"),
    "TGA": ("RGB", "RGBA", "L", "rle"),
    "JPEG2000": ("RGB", "RGBA", "L"),
    "AVIF": ("RGB", "RGBA"),
}
LOSSY = {"JPEG": 8.0, "MPO": 8.0, "WEBP": 8.0, "GIF": 12.0, "AVIF": 8.0, "JPEG2000": 6.0}  # of 255, mean


@dataclasses.dataclass
class Case:
    """A file. `shape` and `truth` (grey, upright) are known where it is whole; `checked` where its format
    has checksums, so that damage may not pass."""

    name: str
    data: bytes
    whole: bool
    checked: bool
    truth: np.ndarray
    tolerance: float
    several: bool


def drawing(rng, width, height):
    """A smooth colourful picture that any codec keeps: uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(rng.uniform(2, 9) * x + rng.uniform(2, 9) * y + rng.uniform(0, 6)) for _ in range(3)]
    return np.round(127.5 + 100.0 * np.stack(waves, -1)).astype(np.uint8)


def encoded(rng, kind, mode, rgb, orientation):
    """The file of a drawing in a format and a mode."""
    image, options = Image.fromarray(rgb), {}
    base = mode.split("+")[0]
    if base in ("I;16", "I", "F"):
        grey = np.asarray(image.convert("L"))
        values = {
            "I;16": grey.astype(np.uint16) * 257,
            "I": grey.astype(np.int32) * 257,
            "F": grey.astype(np.float32) / 255,
        }[base]
        image = Image.fromarray(values)
    elif base == "P":
        image = image.quantize(256)
    elif base == "LAB":
        image = ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    elif base in ("L", "LA", "1", "CMYK", "YCbCr", "RGBA"):
        image = image.convert(base)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.new("L", image.size, int(rng.integers(60, 256))))
    if mode.endswith("+t"):
        options["transparency"] = int(rng.integers(0, 200))
    if mode in ("animated", "APNG", "pages"):
        options |= dict(save_all=True, append_images=[Image.new("RGB", image.size, "red")] * 2)
    if mode == "progressive":
        options["progressive"] = True
    if mode == "deflate" or mode == "rle":
        options["compression"] = {"deflate": "tiff_adobe_deflate", "rle": "tga_rle"}[mode]
    if orientation != 1:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    stream = io.BytesIO()
    if mode == "plain":
        return b"P3\n%d %d 255\n" % image.size + b" ".join(b"%d" % v for v in rgb.ravel())
    image.save(stream, kind, **options)
    return stream.getvalue()


def damaged(rng, data):
    """One way of damaging a file: cut, flipped bits, wild bytes, a part gone, a part doubled, zeros."""
    bad, kind = bytearray(data), rng.integers(6)
    start, stop = np.sort(rng.integers(0, len(bad), 2))
    if kind == 0:
        return bytes(bad[: max(1, stop)]), "cut"
    if kind == 1:
        for at in rng.integers(0, len(bad), rng.integers(1, 9)):
            bad[at] ^= 1 << rng.integers(8)
        return bytes(bad), "bits"
    if kind == 2:
        for at in rng.integers(0, min(len(bad), 200), rng.integers(1, 9)):  # where headers are
            bad[at] = rng.integers(256)
        return bytes(bad), "head"
    stop = min(stop, start + 400)
    if kind == 3:
        return bytes(bad[:start] + bad[stop + 1 :]), "gap"
    if kind == 4:
        return bytes(bad[:stop] + bad[start:]), "twice"
    bad[start:stop] = bytes(stop - start)
    return bytes(bad), "zeros"


def cases(seed, count):
    """`count` files, four of five damaged."""
    rng = np.random.default_rng(seed)
    kinds = [name for name in FORMATS if name in MODES]
    for i in range(count):
        kind = kinds[i % len(kinds)]
        mode = MODES[kind][rng.integers(len(MODES[kind]))]
        large = i % 97 == 96 and kind not in ("PPM", "AVIF", "JPEG2000")
        width, height = rng.integers(32, 2600 if large else 160, 2)
        width, height = int(max(width, height // 20)), int(max(height, width // 20))
        turns = kind in ("PNG", "JPEG", "WEBP", "TIFF") and mode not in ("APNG", "pages", "animated")
        orientation = int(rng.choice(list(TURNS))) if turns else 1
        rgb = drawing(rng, width, height)
        data = encoded(rng, kind, mode, rgb, orientation)
        whole = i % 5 == 0
        label = "whole"
        if not whole:
            data, label = damaged(rng, data)
        truth = TURNS[orientation](np.asarray(Image.fromarray(rgb).convert("L"))).astype(np.float32)
        tolerance = 130.0 if mode == "1" else 14.0 if mode.startswith("P") else LOSSY.get(kind, 2.0)
        tolerance = {"CMYK": 14.0, "LAB": 6.0, "L+t": 2.0}.get(mode, tolerance)
        name = f"{i:04d} {kind} {mode} {width}x{height} turn {orientation} {label}"
        several = mode in ("animated", "APNG", "pages")
        yield Case(name, data, whole, kind == "PNG", truth, tolerance, several)
