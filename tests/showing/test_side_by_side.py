"""The driving video stands at the left, each frame at its time."""

import numpy as np

from zero1a_jax.outputs import video
from zero1a_jax.showing import side_by_side


def test_frames_stand_beside_at_their_time(tmp_path):
    levels = [20, 80, 140, 200]
    driving = np.stack([np.full((32, 64, 3), level, np.uint8) for level in levels])
    video.write(tmp_path / "face.mp4", driving, 10)
    images = [np.full((16, 16, 4), 255, np.uint8)] * 14
    shown = list(side_by_side.frames(tmp_path / "face.mp4", images, 30))
    assert all(frame.shape == (16, 32 + 16, 4) for frame in shown)
    left = [int(np.abs(np.array(levels) - frame[8, 8, 0]).argmin()) for frame in shown]
    assert left == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]
    assert all((frame[:, :32, 3] == 255).all() and (frame[:, 32:] == 255).all() for frame in shown)
