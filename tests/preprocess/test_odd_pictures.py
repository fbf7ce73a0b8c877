"""Files of every odd kind, whole and damaged: a picture that agrees with its file, or one sentence."""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zero1a_jax.preprocess.load import MAX_SIDE, load_image

SECONDS = 10.0
_PATH = Path(__file__).with_name("odd_pictures.py")


@pytest.fixture(scope="module")
def odd():
    spec = importlib.util.spec_from_file_location("zero1a_test_odd_pictures", _PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def judge(case, path):
    """Loads one file; "read" or "refused", and an assertion where neither is done as promised."""
    path.write_bytes(case.data)
    start = time.monotonic()
    try:
        rgb, alpha, notes = load_image(path)
    except ValueError as error:
        text = str(error)
        assert not case.whole, text
        assert "\n" not in text and len(text) < 250 and text.endswith(".") and path.name in text, text
        return "refused", time.monotonic() - start
    seconds = time.monotonic() - start
    assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
    if alpha is not None:
        assert alpha.shape == rgb.shape[:2] and alpha.dtype == np.float32
        assert np.isfinite(alpha).all() and alpha.min() >= 0 and alpha.max() <= 1
    assert all(note.endswith(".") and "\n" not in note for note in notes)
    size = case.truth.shape[::-1]
    if not case.whole:  # the header may be what was damaged
        with Image.open(path) as header:
            size = header.size if sorted(header.size) != sorted(size) else size
    scale = min(1.0, MAX_SIDE / max(size))
    got = np.array(rgb.shape[1::-1])
    expected = np.round(np.array(size) * scale)
    assert (got == expected).all() or (not case.whole and (got[::-1] == expected).all())
    if case.whole or case.checked:
        truth = Image.fromarray(case.truth.astype(np.uint8)).resize(tuple(got.tolist()), Image.Resampling.BOX)
        away = np.abs(np.asarray(Image.fromarray(rgb).convert("L"), np.float32) - np.asarray(truth))
        assert away.mean() < case.tolerance
    if case.whole:
        assert case.several == bool(notes)
    return "read", seconds


def run(odd, folder, seed, count):
    outcomes, slowest = [], 0.0
    for case in odd.cases(seed, count):
        try:
            outcome, seconds = judge(case, folder / "picture")
        except Exception as error:
            raise AssertionError(f"{case.name}: {type(error).__name__} {error}") from error
        outcomes.append((outcome, case.whole))
        slowest = max(slowest, seconds)
    refused = sum(outcome == "refused" for outcome, _ in outcomes)
    whole = sum(whole for _, whole in outcomes)
    print(f"{count} files, {whole} whole: {count - refused} read, {refused} refused; slowest {slowest:.2f} s")
    assert slowest < SECONDS
    return refused


def test_odd_pictures(odd, tmp_path):
    assert run(odd, tmp_path, seed=1, count=110) > 30


@pytest.mark.slow
def test_a_thousand_odd_pictures(odd, tmp_path):
    assert run(odd, tmp_path, seed=2, count=1000) > 300


BOMBS = """
import io, resource, struct, sys, time, zlib
from pathlib import Path
import numpy as np
from PIL import Image
from zero1a_jax.preprocess.load import load_image

folder, side = Path(sys.argv[1]), 12_000
small = Image.new("RGB", (64, 48), "teal")

def saved(kind):
    stream = io.BytesIO()
    small.save(stream, kind)
    return bytearray(stream.getvalue())

def patched(kind, marker, offset, layout):
    data = saved(kind)
    at = data.index(marker) + offset
    data[at : at + struct.calcsize(layout)] = struct.pack(layout, side, side)
    return bytes(data)

def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

squeeze = zlib.compressobj(1)
rows = b"".join(squeeze.compress(bytes(100 * (1 + 3 * side))) for _ in range(side // 100))
head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
jp2 = bytearray(patched("JPEG2000", b"ihdr", 4, ">II"))
jp2[jp2.index(b"\\xff\\x51") + 6 :][:8] = struct.pack(">II", side, side)
files = {
    "whole.png": b"\\x89PNG\\r\\n\\x1a\\n" + head + chunk(b"IDAT", rows + squeeze.flush())
    + chunk(b"IEND", b""),
    "a.gif": patched("GIF", b"GIF8", 6, "<HH"),
    "a.bmp": patched("BMP", b"BM", 18, "<ii"),
    "a.jpg": patched("JPEG", b"\\xff\\xc0", 5, ">HH"),
    "a.webp": b"RIFF" + struct.pack("<I", 36) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4)
    + 2 * struct.pack("<I", side - 1)[:3] + b"VP8L" + struct.pack("<I", 5) + b"\\x2f"
    + struct.pack("<I", (side - 1) | (side - 1) << 14) + bytes(1),
    "a.tga": patched("TGA", b"\\x00\\x00\\x02", 12, "<HH"),
    "a.jp2": bytes(jp2),
    "a.avif": patched("AVIF", b"ispe", 8, ">II"),
    "a.ppm": b"P6 12000 12000 255\\n",
    "plain.ppm": b"P3 2000 2000 255\\n" + b"1 " * 12_000_000,
}
for name, data in files.items():
    (folder / name).write_bytes(data)
tiff = folder / "a.tiff"
small.save(tiff, compression="tiff_adobe_deflate")
data = bytearray(tiff.read_bytes())
for tag in (256, 257):
    at = data.index(struct.pack("<HHI", tag, 4, 1)) if struct.pack("<HHI", tag, 4, 1) in data else data.index(
        struct.pack("<HHI", tag, 3, 1))
    data[at + 8 : at + 12] = struct.pack("<I", side)
tiff.write_bytes(data)
del files, data, rows
load_image(small)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(folder.iterdir()):
    start = time.monotonic()
    try:
        load_image(path)
        print(path.name, "was read")
    except ValueError as error:
        print(path.name, "refused", error)
    assert time.monotonic() - start < 2, path.name
print("grew", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_bombs_are_refused_by_their_size(tmp_path):
    """12,000 x 12,000 pixels in every format, the PNG with all its rows: no memory, no time."""
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    for line in lines[:-1]:
        assert " refused " in line and ("megapixels" in line or "decodes slowly" in line), line
    print(lines[-1], "KiB of memory over all bombs")
    assert int(lines[-1].split()[1]) < 40_000  # the decoded picture would be 422 MiB
