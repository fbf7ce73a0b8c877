"""Videos come back as they were sent, within what compression may change."""

import av
import numpy as np
import pytest

from zero1a_jax.outputs import label, video
from zero1a_jax.provenance import Provenance


def clip(frames=6, height=48, width=64):
    """Smooth colour ramps that move: what a lossy codec should keep."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    base = np.stack([x, y, 0.5 + 0 * x], -1)
    return np.stack([np.roll(np.abs(base * 2 - 1), 3 * t, 1) * 200 + 20 for t in range(frames)]).astype(
        np.uint8
    )


def test_round_trip(tmp_path):
    frames = clip()
    video.write(tmp_path / "new" / "a.mp4", frames, 24)
    back, fps = video.read(tmp_path / "new" / "a.mp4")
    assert back.shape == frames.shape and back.dtype == np.uint8 and fps == 24
    assert np.abs(back.astype(int) - frames).mean() < 4
    assert len(video.read(tmp_path / "new" / "a.mp4", limit=2)[0]) == 2


def test_saturated_colours_keep_their_hue(tmp_path):
    """A wrong colour matrix shifts saturated colours by 10 to 30 levels."""
    colours = np.array([[200, 30, 90], [20, 220, 60], [40, 60, 210]], np.uint8)
    frames = np.repeat(np.repeat(colours, 16, 0)[None, :, None], 32, 2).repeat(4, 0)
    video.write(tmp_path / "a.mp4", frames, 10)
    back, _ = video.read(tmp_path / "a.mp4")
    assert np.abs(back[:, 8::16, 16].astype(int) - colours).max() <= 5


@pytest.mark.parametrize("height, width", [(31, 33), (32, 33), (31, 32), (1, 1)])
def test_odd_sizes_are_padded_by_their_edge(height, width, tmp_path):
    frames = clip(3, 48, 64)[:, :height, :width]
    video.write(tmp_path / "a.mp4", frames, 30)
    back, _ = video.read(tmp_path / "a.mp4")
    assert back.shape == (3, height + height % 2, width + width % 2, 3)
    assert np.abs(back[:, :height, :width].astype(int) - frames).mean() < 6


@pytest.mark.parametrize("filter", ["nearest", "lanczos"])
def test_small_frames_can_grow(filter, tmp_path):
    frames = clip(2, 20, 30)
    video.write(tmp_path / "a.mp4", frames, 30, scale=3, filter=filter)
    back, _ = video.read(tmp_path / "a.mp4")
    assert back.shape == (2, 60, 90, 3)
    assert np.abs(back[:, 1::3, 1::3].astype(int) - frames).mean() < 8


def test_frames_may_come_one_by_one_and_bits_do_not_change(tmp_path):
    frames = clip()
    video.write(tmp_path / "a.mp4", frames, 29.97)
    video.write(tmp_path / "b.mp4", (frame for frame in frames), 29.97)
    a, fps = video.read(tmp_path / "a.mp4")
    np.testing.assert_array_equal(a, video.read(tmp_path / "b.mp4")[0])
    assert abs(fps - 29.97) < 1e-3


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_container_says_that_it_is_synthetic_and_no_frame_changes(suffix, tmp_path):
    about, later = (Provenance(date, seed=3) for date in ("2026-07-31", "2027-01-01"))
    files = [tmp_path / f"{name}{suffix}" for name in ("plain", "a", "later")]
    for file, provenance in zip(files, (None, about, later), strict=True):
        video.write(file, clip(), 24, provenance=provenance)
    with av.open(files[1]) as container:
        told = {name.lower(): value for name, value in container.metadata.items()}
    assert told["comment"] == about.sentence and told["date"] == "2026-07-31"
    assert suffix == ".mov" or told["description"] == about.sentence
    plain, *others = (video.read(file)[0] for file in files)
    for frames in others:
        np.testing.assert_array_equal(frames, plain)


def test_a_label_is_seen_in_every_frame(tmp_path):
    frames = clip(3, 64, 96)
    video.write(tmp_path / "a.mp4", frames, 24, provenance=Provenance("2026-07-31", label=True), crf=4)
    for frame, back in zip(frames, video.read(tmp_path / "a.mp4")[0], strict=True):
        shown = label.draw(frame)
        lettered = (shown != frame).any(-1)
        assert 100 < lettered.sum() < 0.2 * lettered.size
        assert np.abs(back.astype(int) - shown)[lettered].mean() < 25
        assert np.abs(back.astype(int) - frame)[lettered].mean() > 60


def test_equal_frames_give_an_equal_file_whatever_memory_holds(tmp_path):
    """With macroblock trees x264 gave another file nearly every time, on processors with AVX-512."""
    r = np.random.default_rng(0)
    sheet = np.full((272, 400, 3), 255, np.uint8)
    sheet[8:264, 8:392] = np.kron(r.integers(0, 256, (32, 48, 3)), np.ones((8, 8, 1)))
    frames = [np.roll(sheet, abs(7 - t), 1) for t in range(14)]
    frames = [np.clip(f + r.normal(size=f.shape), 0, 255).astype(np.uint8) for f in frames]
    written = set()
    for i in range(4):
        junk = [r.integers(0, 256, r.integers(10_000, 900_000), np.uint8) for _ in range(30)]
        del junk[::2]
        video.write(tmp_path / f"{i}.mp4", frames, 8)
        written.add((tmp_path / f"{i}.mp4").read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize(
    "frames, options, words",
    [
        (np.zeros((0, 8, 8, 3), np.uint8), {}, "no frames"),
        (np.zeros((2, 8, 8, 3), np.float32), {}, "uint8"),
        (np.zeros((2, 8, 8), np.uint8), {}, "expected uint8"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)], {}, "frame 1"),
        (clip(), {"fps": 0}, "fps"),
        (clip(), {"scale": 0}, "scale"),
        (clip(), {"filter": "magic"}, "filter"),
    ],
)
def test_bad_calls_leave_nothing(frames, options, words, tmp_path):
    fps = options.pop("fps", 30)
    with pytest.raises(ValueError, match=words):
        video.write(tmp_path / "a.mp4", frames, fps, **options)
    assert list(tmp_path.iterdir()) == []


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        video.read(tmp_path / "none.mp4")
    (tmp_path / "a.mp4").write_bytes(b"not a video at all")
    with pytest.raises(ValueError, match="a.mp4"):
        video.read(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=".mp4"):
        video.write(tmp_path / "a.xyz", clip(), 30)
