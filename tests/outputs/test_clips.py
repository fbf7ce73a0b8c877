"""Every format comes back: frames, times, and alpha where it was asked for."""

import av
import numpy as np
import pytest
from PIL import Image

from zero1a_jax.errors import Refused
from zero1a_jax.outputs import clips

SIZE, COUNT = 32, 5


def discs(channels=4):
    """A red disc that moves; outside of it alpha is 0."""
    y, x = np.mgrid[:SIZE, :SIZE]
    made = []
    for t in range(COUNT):
        inside = (x - 10 - 2 * t) ** 2 + (y - 16) ** 2 < 64
        frame = np.zeros((SIZE, SIZE, 4), np.uint8)
        frame[inside] = (220, 40, 30, 255)
        made.append(frame[..., :channels])
    return np.stack(made)


def decoded(path, decoder):
    with av.open(str(path)) as container:
        context = av.CodecContext.create(decoder, "r")
        context.extradata = container.streams.video[0].codec_context.extradata
        frames = [frame for packet in container.demux(video=0) for frame in context.decode(packet)]
    return np.stack([frame.to_ndarray(format="rgba") for frame in frames])


@pytest.mark.parametrize("name, decoder", [("a.webm", "libvpx-vp9"), ("a.mov", "prores")])
def test_alpha_comes_back_from_videos(name, decoder, tmp_path):
    if decoder == "prores" and "prores_ks" not in av.codecs_available:
        pytest.skip("this build of PyAV has no prores_ks")
    frames = discs()
    assert clips.write(tmp_path, name, frames, 25) == COUNT
    back = decoded(tmp_path / name, decoder)
    assert back.shape == frames.shape
    assert np.abs(back[..., 3].astype(int) - frames[..., 3]).mean() < 3
    middle = frames[..., 3] == 255
    assert np.abs(back[middle][:, 0].astype(int) - 220).mean() < 25


def test_gif_keeps_alpha_and_time(tmp_path):
    frames = discs()
    clips.write(tmp_path, "a.gif", frames, 30)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == COUNT
        durations = []
        for index in range(COUNT):
            gif.seek(index)
            durations.append(gif.info["duration"])
            back = np.asarray(gif.convert("RGBA"))
            np.testing.assert_array_equal(back[..., 3], frames[index, ..., 3])
            assert np.abs(back[back[..., 3] > 0][:, :3].astype(int) - (220, 40, 30)).max() < 4
    assert sum(durations) == pytest.approx(1000 * COUNT / 30, abs=10)


def test_pngs_are_the_frames_to_the_bit(tmp_path):
    frames = discs()
    assert clips.write(tmp_path, "shots/", frames, 25) == COUNT
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == clips.names("shots/", COUNT)
    for name, frame in zip(names, frames, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name)), frame)


def test_webm_without_alpha_has_none(tmp_path):
    clips.write(tmp_path, "a.webm", discs(3), 60)
    with av.open(str(tmp_path / "a.webm")) as container:
        assert container.streams.video[0].codec_context.name.endswith("vp9")
        assert container.streams.video[0].average_rate == 60
        assert sum(1 for _ in container.decode(video=0)) == COUNT


@pytest.mark.parametrize(
    "out, fps, said", [("a.mp4", 25, "transparent"), ("a.gif", 60, "50"), ("a.avi", 25, ".mp4")]
)
def test_what_a_format_cannot_hold_is_refused(out, fps, said):
    with pytest.raises(Refused, match=said):
        clips.refuse(out, fps, transparent=True)


def test_a_folder_with_frames_is_refused(tmp_path):
    (tmp_path / "frame_00001.png").write_bytes(b"")
    with pytest.raises(Refused, match="already"):
        clips.refuse(f"{tmp_path}/", 25, transparent=False)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mkv"])
def test_sound_goes_along_as_far_as_the_frames(name, tmp_path):
    with av.open(str(tmp_path / "talk.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=44100)
        tone = (np.sin(np.arange(44100) / 20) * 20000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clips.write(tmp_path, name, discs(3), 10, sound=tmp_path / "talk.wav")
    with av.open(str(tmp_path / name)) as container:
        heard = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples = np.concatenate(heard, 1)
    assert samples.shape[1] / rate == pytest.approx(COUNT / 10, abs=0.06)
    assert np.abs(samples).max() > 0.1
