"""Frames that come in real time: a film at its own speed, over and over; a device of FFmpeg."""

import sys
import time

import av
import numpy as np
import pytest

from zero1a_jax import outputs
from zero1a_jax.errors import Refused
from zero1a_jax.image import capture


def test_a_film_comes_at_its_own_speed_and_again(tmp_path):
    shades = [np.full((32, 64, 3), 50 * k, np.uint8) for k in range(4)]
    outputs.video.write(tmp_path / "a.mp4", shades, 20)
    frames = capture.frames(str(tmp_path / "a.mp4"), longest=32)
    next(frames)  # opened
    start, seen = time.monotonic(), []
    for _ in range(6):
        frame = next(frames)
        seen.append(round(frame.mean() / 50))
    assert seen == [1, 2, 3, 0, 1, 2] and frame.shape == (16, 32, 3)
    assert 0.2 < time.monotonic() - start < 5


def test_what_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no video"):
        next(capture.frames(str(tmp_path / "nothing.mp4")))
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(Refused, match="no camera at /dev/video77"):
        next(capture.frames("77"))
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(Refused, match="video=NAME"):
        next(capture.frames("0"))
    assert capture.is_camera("0") and capture.is_camera("video=Cam") and not capture.is_camera("take.mp4")


def test_a_device(tmp_path):
    if "lavfi" not in av.formats_available:
        pytest.skip("this FFmpeg has no device without a machine")
    frames = capture.opened("testsrc=size=320x240:rate=30", "lavfi", 160)
    first, second = next(frames), next(frames)
    assert first.shape == second.shape == (120, 160, 3) and first.dtype == np.uint8 and first.std() > 20
    with pytest.raises(Refused, match="does not open"):
        next(capture.opened(str(tmp_path / "none"), "lavfi", 160))
