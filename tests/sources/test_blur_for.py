"""How much an avatar is blurred for pictures of a size."""

import math

import pytest

from zero1a_jax.sources.avatars import Loaded, blur_for


def loaded(**meta):
    return Loaded(None, None, meta, None)


@pytest.mark.parametrize("size", [32, 64])
def test_not_at_all_up_to_the_frames_size(size):
    assert blur_for(loaded(size=64), size) == 0.0


def test_not_at_all_where_nobody_knows_the_frames_size():
    assert blur_for(loaded(), 512) == 0.0


def test_by_a_part_of_a_frames_pixel():
    pixel = 2.0 * math.tan(math.radians(10.0)) / 128  # metres, 1 m away
    blurs = [blur_for(loaded(size=128), size) / pixel for size in (160, 256, 512, 4096)]
    assert 0.1 < blurs[0] < blurs[1] < blurs[2] < blurs[3] < 0.3
    assert blur_for(loaded(size=256), 512) == pytest.approx(0.5 * blur_for(loaded(size=128), 256))
