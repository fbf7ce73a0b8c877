"""Pictures of every odd kind become upright eight-bit RGB, or one sentence."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from zero1a_jax.preprocess.load import load_image, load_mask


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
        rgb, alpha, _ = read(picture, tmp_path, name)
        assert alpha is None and rgb.dtype == np.uint8
        assert (rgb == want).all()
    for name in ("a.jpg", "a.webp"):
        rgb, _, _ = read(picture, tmp_path, name, quality=95)
        assert np.abs(rgb.astype(int) - want).mean() < 4


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "I", "I;16", "F", "YCbCr", "LA", "RGBA"])
def test_modes(picture, tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray((np.asarray(picture.convert("L")).astype(np.uint16)) * 257)
    else:
        image = picture.convert(mode)
    rgb, alpha, _ = read(image, tmp_path, "a.tiff" if mode in ("CMYK", "F", "I", "YCbCr") else "a.png")
    assert rgb.shape == (60, 80, 3) and alpha is None  # opaque alpha is no alpha
    if mode not in ("P", "1"):
        grey = np.asarray(picture.convert("L")).astype(float)
        assert np.abs(rgb.mean(-1) - (grey if rgb.std(-1).max() < 1 else rgb.mean(-1))).max() < 2


def test_transparency(picture, tmp_path):
    picture.putalpha(Image.fromarray(np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1))))
    rgb, alpha, _ = read(picture, tmp_path, "a.png")
    assert np.allclose(alpha[0], np.arange(80) * 3 / 255)
    palette = picture.convert("RGB").quantize(16)
    palette.info["transparency"] = 3
    palette.save(tmp_path / "p.png", transparency=3)
    _, alpha, _ = load_image(tmp_path / "p.png")
    assert set(np.unique(alpha)) == {0.0, 1.0}


def test_exif_rotation(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    rgb, _, _ = read(picture, tmp_path, "a.png", exif=exif)
    assert rgb.shape == (80, 60, 3)
    assert (rgb == np.rot90(np.asarray(picture), -1)).all()


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tiff"])
def test_first_frame_of_an_animation_and_it_is_said_so(picture, tmp_path, name):
    other = Image.new("RGB", picture.size, "red")
    options = {"lossless": True} if name == "a.webp" else {}
    rgb, _, notes = read(picture, tmp_path, name, save_all=True, append_images=[other], **options)
    assert (rgb == np.asarray(picture)).all()
    assert notes == (f"{name} holds several pictures: the first one is used.",)


def test_colour_profiles_are_applied(picture, tmp_path):
    """A profile whose red and blue are swapped shows that it is used; a broken one is said so."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    table = {srgb[i : i + 4]: i for i in range(132, 132 + 12 * 20, 12)}
    swapped = bytearray(srgb)
    for one, other in ((b"rXYZ", b"bXYZ"), (b"bXYZ", b"rXYZ")):
        swapped[table[one] + 4 : table[one] + 12] = srgb[table[other] + 4 : table[other] + 12]
    swapped = bytes(swapped).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    rgb, _, notes = read(picture, tmp_path, "a.png", icc_profile=swapped)
    assert np.abs(rgb.astype(int) - np.asarray(picture)[..., ::-1]).mean() < 1 and not notes
    rgb, _, _ = read(picture, tmp_path, "a.png", icc_profile=srgb)
    assert (rgb == np.asarray(picture)).all()
    rgb, _, (note,) = read(picture, tmp_path, "b.png", icc_profile=b"nonsense")
    assert (rgb == np.asarray(picture)).all() and "colour profile" in note


def test_turned_tiffs(picture, tmp_path):
    """Given a path, Pillow maps them into memory and reads rows of the wrong length."""
    exif = Image.Exif()
    exif[0x0112] = 8
    for mode in ("L", "CMYK", "RGBA"):
        rgb, _, _ = read(picture.convert(mode), tmp_path, "a.tiff", exif=exif)
        want = np.rot90(np.asarray(picture.convert(mode).convert("RGB")))
        assert rgb.shape == want.shape and np.abs(rgb.astype(int) - want).max() < 2


def test_masks_fit_their_picture(picture, tmp_path):
    picture.convert("L").save(tmp_path / "mask.png")
    assert np.allclose(load_mask(tmp_path / "mask.png", (60, 80)) * 255, picture.convert("L"))
    with pytest.raises(ValueError, match="must agree"):
        load_mask(tmp_path / "mask.png", (80, 60))
    picture.putalpha(100)
    picture.save(tmp_path / "clear.png")
    assert np.allclose(load_mask(tmp_path / "clear.png", (60, 80)), 100 / 255)


def test_large_pictures_are_reduced():
    rgb, _, _ = load_image(Image.new("RGB", (4096, 1024), "blue"))
    assert rgb.shape == (512, 2048, 3)


def test_missing_tiny_and_foreign_files(tmp_path):
    with pytest.raises(ValueError, match="no picture at"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="at least 32"):
        read(Image.new("RGB", (31, 500)), tmp_path, "a.png")
    with pytest.raises(ValueError, match="strip"):
        read(Image.new("RGB", (33, 2600)), tmp_path, "a.png")
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(ValueError, match="not a picture"):
        load_image(tmp_path / "a.jpg")
    (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n")
    with pytest.raises(ValueError, match="not a picture"):
        load_image(tmp_path / "a.eps")


def test_arrays():
    rgb, alpha, _ = load_image(np.full((40, 50, 3), 0.5))
    assert alpha is None and (rgb == 128).all()
    wrong = np.full((40, 50, 3), np.nan), np.full((40, 50, 3), 200.0), np.zeros((0, 50, 3))
    for bad in (np.zeros((40, 50, 2)), np.zeros((40, 50, 3), np.int64), *wrong):
        with pytest.raises(ValueError, match="picture array"):
            load_image(bad)
