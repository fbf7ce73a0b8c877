"""Films frame by frame: times, rotation, pixels that are not square, damage."""

from fractions import Fraction

import av
import numpy as np
import pytest

from zero1a_jax.errors import Refused
from zero1a_jax.image import film


def written(path, pictures, times_ms, *, rotation=0, aspect=None, codec="mpeg4"):
    """A film of pictures [H, W, 3] at times in ms."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.options = {"qscale": "2"}
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for picture, time in zip(pictures, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def marked():
    """Bright at its top left corner."""
    picture = np.full((48, 80, 3), 40, np.uint8)
    picture[:16, :16] = 230
    return picture


def test_times_are_the_files_own(tmp_path):
    times = [0, 40, 80, 200, 210, 400]
    path = written(tmp_path / "a.mkv", [marked()] * 6, times)
    found = list(film.frames(path))
    np.testing.assert_allclose([seconds for seconds, _ in found], np.array(times) / 1000, atol=1.5e-3)
    assert all(rgb.shape == (48, 80, 3) and rgb.dtype == np.uint8 for _, rgb in found)
    assert film.about(path).count is not None


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_frames_are_upright(rotation, tmp_path):
    path = written(tmp_path / "a.mp4", [marked()] * 3, [0, 33, 66], rotation=rotation)
    _, rgb = next(film.frames(path))
    np.testing.assert_allclose(rgb, np.rot90(marked(), rotation // 90), atol=40)


def test_pixels_are_square_and_sides_bounded(tmp_path):
    path = written(tmp_path / "a.mp4", [marked()] * 2, [0, 33], aspect=Fraction(2, 1))
    assert next(film.frames(path))[1].shape == (48, 160, 3)
    assert next(film.frames(path, longest=80))[1].shape == (24, 80, 3)


def test_damage_and_what_is_no_film(tmp_path):
    with pytest.raises(FileNotFoundError):
        film.about(tmp_path / "none.mp4")
    (tmp_path / "a.mp4").write_text("no film")
    with pytest.raises(Refused, match="not a readable video"):
        next(film.frames(tmp_path / "a.mp4"))
    path = written(tmp_path / "b.mkv", [marked()] * 30, [33 * i for i in range(30)])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])  # cut short
    assert 5 < len(list(film.frames(path))) < 30
