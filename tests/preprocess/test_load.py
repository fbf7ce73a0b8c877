"""Pictures of every odd kind become upright eight-bit RGB, or one sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from zero1a_jax.preprocess.load import load_image


@pytest.fixture
def picture():
    y, x = np.mgrid[:60, :80]
    return Image.fromarray(np.stack([x * 3, y * 4, x + y], -1).astype(np.uint8))


def read(image, path, name, **options):
    file = path / name
    image.save(file, **options)
    return load_image(file)


def test_plain_formats(picture, tmp_path):
    want = np.asarray(picture)
    for name in ("a.png", "a.bmp", "a.tiff", "a.ppm", "a.tga"):
        rgb, alpha = read(picture, tmp_path, name)
        assert alpha is None and rgb.dtype == np.uint8
        assert (rgb == want).all()
    for name in ("a.jpg", "a.webp"):
        rgb, _ = read(picture, tmp_path, name, quality=95)
        assert np.abs(rgb.astype(int) - want).mean() < 4


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "I", "I;16", "F", "YCbCr", "LA", "RGBA"])
def test_modes(picture, tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray((np.asarray(picture.convert("L")).astype(np.uint16)) * 257)
    else:
        image = picture.convert(mode)
    rgb, alpha = read(image, tmp_path, "a.tiff" if mode in ("CMYK", "F", "I", "YCbCr") else "a.png")
    assert rgb.shape == (60, 80, 3) and alpha is None  # opaque alpha is no alpha
    if mode not in ("P", "1"):
        grey = np.asarray(picture.convert("L")).astype(float)
        assert np.abs(rgb.mean(-1) - (grey if rgb.std(-1).max() < 1 else rgb.mean(-1))).max() < 2


def test_transparency(picture, tmp_path):
    picture.putalpha(Image.fromarray(np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1))))
    rgb, alpha = read(picture, tmp_path, "a.png")
    assert np.allclose(alpha[0], np.arange(80) * 3 / 255)
    palette = picture.convert("RGB").quantize(16)
    palette.info["transparency"] = 3
    palette.save(tmp_path / "p.png", transparency=3)
    _, alpha = load_image(tmp_path / "p.png")
    assert set(np.unique(alpha)) == {0.0, 1.0}


def test_exif_rotation(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    rgb, _ = read(picture, tmp_path, "a.png", exif=exif)
    assert rgb.shape == (80, 60, 3)
    assert (rgb == np.rot90(np.asarray(picture), -1)).all()


def test_first_frame_of_an_animation(picture, tmp_path):
    other = Image.new("RGB", picture.size, "red")
    rgb, _ = read(picture, tmp_path, "a.webp", save_all=True, append_images=[other], lossless=True)
    assert (rgb == np.asarray(picture)).all()


def test_large_pictures_are_reduced():
    rgb, _ = load_image(Image.new("RGB", (4096, 1024), "blue"))
    assert rgb.shape == (512, 2048, 3)


def png_of(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_too_many_pixels_are_refused_by_the_header(tmp_path, side):
    (tmp_path / "big.png").write_bytes(png_of(side, side))
    with pytest.raises(ValueError, match="megapixels"):
        load_image(tmp_path / "big.png")


def test_missing_tiny_and_foreign_files(tmp_path):
    with pytest.raises(ValueError, match="no picture at"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="at least 32"):
        read(Image.new("RGB", (31, 500)), tmp_path, "a.png")
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(ValueError, match="not a picture"):
        load_image(tmp_path / "a.jpg")
    (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n")
    with pytest.raises(ValueError, match="not a picture"):
        load_image(tmp_path / "a.eps")


def test_damaged_files_give_a_sentence_or_a_picture(picture, tmp_path):
    """Truncations and flipped bytes: a ValueError of one line, or pixels; nothing else."""
    rng = np.random.default_rng(0)
    refused = 0
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF"):
        stream = io.BytesIO()
        picture.save(stream, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
        good = stream.getvalue()
        for i in range(24):
            bad = bytearray(good)
            if i % 2:
                bad = bad[: rng.integers(1, len(good))]
            else:
                for at in rng.integers(0, len(good), 1 + i):
                    bad[at] = rng.integers(256)
            file = tmp_path / f"{kind}{i}"
            file.write_bytes(bytes(bad))
            try:
                rgb, _ = load_image(file)
                assert rgb.ndim == 3 and rgb.dtype == np.uint8
            except ValueError as error:
                refused += 1
                assert "\n" not in str(error) and len(str(error)) < 250
    assert refused > 40


def test_arrays():
    rgb, alpha = load_image(np.full((40, 50, 3), 0.5))
    assert alpha is None and (rgb == 128).all()
    for bad in (np.zeros((40, 50, 2)), np.zeros((40, 50, 3), np.int64), np.full((40, 50, 3), np.nan)):
        with pytest.raises(ValueError, match="picture array"):
            load_image(bad)
