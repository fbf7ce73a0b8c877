"""The benchmark of kinds of portraits: its boxes, its likeness, and what it refuses."""

import numpy as np
import pytest

from experiments.benchmarks import kinds
from zero1a_jax.errors import Refused

SIZE = kinds.SIZE


def test_a_box_is_about_its_points_and_leaves_room_for_the_shifts():
    points = np.array([[100.0, 90.0], [140.0, 110.0]])
    rows, columns = kinds.box(points)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (78, 122, 88, 152)
    rows, columns = kinds.box(points - 95)
    assert rows.start == columns.start == kinds.REACH


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -2)])
def test_likeness_finds_a_shift(down, right):
    wanted = np.random.default_rng(0).random((SIZE, SIZE, 3))
    moved = np.roll(wanted, (down, right), (0, 1)) + 0.01
    psnr, shifted = kinds.likeness(moved, wanted, (slice(80, 120), slice(90, 150)))
    assert shifted == pytest.approx(40.0, abs=1e-6)
    assert psnr == pytest.approx(40.0, abs=1e-6) if (down, right) == (0, 0) else psnr < 10


def test_means_are_told_by_kind_and_box_and_over_all():
    rows = [
        {"kind": "hand", "driven": driven, "box": "eyes", "psnr": psnr, "psnr_shifted": psnr + 1}
        for driven, psnr in (("neutral", 20.0), ("neutral", 22.0), ("blink", 30.0))
    ]
    found = kinds.summary(rows)
    assert found["hand/neutral/eyes"] == {"count": 2, "psnr": 21.0, "psnr_shifted": 22.0}
    assert found["hand/all/eyes"]["psnr"] == 24.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"kinds": ("hat",)}, "--kinds=hat"), ({"people": ("me",)}, "--people=me"), ({"out": ""}, "--out")],
)
def test_wrong_options_are_refused(tmp_path, change, reason):
    with pytest.raises(Refused, match=reason):
        kinds.main(kinds.Options(**({"out": str(tmp_path)} | change)))


def test_a_hand_is_drawn_before_the_mouth():
    for seed in range(401, 410):
        assert np.random.default_rng(kinds._at_mouth(seed)).integers(3) == 0
