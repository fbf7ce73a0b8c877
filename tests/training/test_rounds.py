"""The small pictures of each refresh: kept as well as JPEG does, whole or not at all, in the report."""

import io
import types

import numpy as np
import pytest
from PIL import Image

from zero1a_jax import symgen
from zero1a_jax.provenance import Provenance
from zero1a_jax.training import report, rounds

ABOUT = Provenance("2026-07-31", seed=3)


def refreshed(step, slot, count=1, reason=symgen.ACCEPTED, shade=0.5):
    frames = np.full((3, 40, 40, 3), shade) * np.array([1, 0.5, 0.2])
    return rounds.Refreshed(step, slot, count, reason, rounds.small(frames), rounds.small(1 - frames))


def test_small_takes_the_middle_and_the_last_frame():
    frames = np.stack([np.full((128, 128, 3), value, np.uint8) for value in (0, 50, 100, 150)])
    assert rounds.small(frames).shape == (2, 64, 64, 3)
    assert rounds.small(frames).mean((1, 2, 3)).tolist() == [100, 150]
    assert rounds.small(np.full((1, 32, 32, 3), np.nan)).max() == 0


def test_what_is_written_is_read(tmp_path):
    first = [refreshed(0, 1, shade=0.2), refreshed(0, 2, shade=0.9)]
    second = [refreshed(30, 2, 1, symgen.BLANK, 0.4)]
    for update in (first, second):
        rounds.write(tmp_path, update, ABOUT)
    assert rounds.steps(tmp_path) == [0, 30]
    for written, read in zip(
        first + second, rounds.read(tmp_path, 0) + rounds.read(tmp_path, 30), strict=True
    ):
        assert read[:4] == written[:4]
        for one, other in ((read.rendered, written.rendered), (read.made, written.made)):
            inner = (one.astype(int) - other)[:, 2:-2, 2:-2]  # colours are coarser, so that neighbours mix
            assert np.abs(inner).max() < 6  # JPEG
    assert {slot: len(found) for slot, found in rounds.of_slots(tmp_path).items()} == {1: 1, 2: 2}
    data = (tmp_path / rounds.FOLDER / "00000000.jpg").read_bytes()
    rounds.write(tmp_path, first, ABOUT)  # a resumed run
    assert (tmp_path / rounds.FOLDER / "00000000.jpg").read_bytes() == data
    assert b"DigitalSourceType" in data and len(data) < 10_000
    assert sorted(path.name for path in (tmp_path / rounds.FOLDER).iterdir()) == [
        "00000000.jpg",
        "00000030.jpg",
    ]


@pytest.mark.parametrize("damage", ["cut", "no comment", "other"])
def test_a_damaged_file_is_left_out(tmp_path, damage):
    rounds.write(tmp_path, [refreshed(0, 1)], ABOUT)
    path = tmp_path / rounds.FOLDER / "00000000.jpg"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(
        buffer, format="JPEG", **({} if damage == "no comment" else {"comment": b"[1]"})
    )
    path.write_bytes(path.read_bytes()[:200] if damage == "cut" else buffer.getvalue())
    assert rounds.read(tmp_path, 0) == [] and rounds.of_slots(tmp_path) == {}


def test_the_report_shows_first_last_and_rejected(tmp_path):
    for step in range(0, 300, 10):
        rejected = step == 70
        rounds.write(
            tmp_path,
            [refreshed(step, 1, 1, symgen.BLANK if rejected else symgen.ACCEPTED, step / 300)],
            ABOUT,
        )
    stage = np.array([symgen.PORTRAIT, symgen.SPATIAL])
    made = types.SimpleNamespace(samples=types.SimpleNamespace(stage=stage))
    text, picture = report.samples(made, tmp_path)
    assert rounds.FOLDER in text
    assert picture.caption == (
        "Sample 1, spatial, generated 30 times. Rejected at step 70: a generated frame is blank."
    )
    assert (
        picture.image.shape[1] == 7 * 130 + 2
    )  # six updates from the first to the last, and the rejected one
    assert len(report.samples(made, tmp_path / "nothing")) == 1
