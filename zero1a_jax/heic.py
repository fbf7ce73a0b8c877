"""Photos of phones: HEIC and HEIF, through the extra `heic`."""

from __future__ import annotations

import os

BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def register() -> bool:
    """Lets Pillow open them where pillow-heif is installed; whether it is."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def advice(path: str | os.PathLike) -> str:
    """What to do about a file that Pillow does not know, where it is a HEIC; else empty."""
    with open(path, "rb") as file:
        head = file.read(12)
    if head[4:8] != b"ftyp" or head[8:12] not in BRANDS:
        return ""
    return "it is a HEIC photo: pip install pillow-heif (the extra heic), or save it as JPEG."
