"""How many frames make a second, told from where they start anew."""

from pathlib import Path

import numpy as np
import pytest

from zero1a_jax.converters import timecode
from zero1a_jax.errors import Refused


def label(frame, rate, *, start=36000, mark=":", thousandths=0):
    """The label of a frame since `start` seconds of the day."""
    second = start + frame // rate
    hours, minutes = second // 3600 % 24, second // 60 % 60
    return f"{hours:02d}:{minutes:02d}:{second % 60:02d}{mark}{frame % rate:02d}.{thousandths:03d}"


def read(texts, fps=None):
    return timecode.read(Path("a.csv"), texts, range(2, len(texts) + 2), fps=fps)


@pytest.mark.parametrize("rate", [24, 25, 30, 48, 50, 60, 120])
@pytest.mark.parametrize("lost", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_the_rate_of_takes_with_dropped_frames(rate, lost, seed):
    rng = np.random.default_rng(seed)
    first = int(rng.integers(rate))
    frames = first + np.flatnonzero(rng.random(6 * rate) >= lost)
    fractions = rng.integers(0, 1000, len(frames))
    times = read([label(f, rate, thousandths=t) for f, t in zip(frames, fractions, strict=True)])
    assert times.fps == rate and (times.notes == () or rate == timecode.FILM)
    exact = frames + fractions / 1000
    np.testing.assert_allclose(times.seconds, (exact - exact[0]) / rate, atol=1e-9)
    np.testing.assert_array_equal(times.frame, frames - frames[0])


@pytest.mark.parametrize("rate", [24, 25, 30, 50, 60])
def test_a_short_take_over_the_end_of_a_second_tells(rate):
    times = read([label(rate - 5 + i, rate) for i in range(10)])
    assert times.fps == rate and (times.notes == () or rate == timecode.FILM)
    assert times.seconds[-1] == pytest.approx(9 / rate)


@pytest.mark.parametrize(
    "texts",
    [
        [label(f, 30) for f in range(3, 25)],  # within one second
        [label(f, 60) for f in (*range(10, 36), *range(60, 75))],  # a third of a second is lost
        [label(f, 60) for f in range(30, 600, 60)],  # one row a second
    ],
)
def test_a_take_that_cannot_tell_is_taken_as_the_apps_default(texts):
    times = read(texts)
    assert times.fps == 60 and "60 are assumed" in times.notes[0]
    assert read(texts, fps=60.0).notes == ()


def test_rows_may_be_fewer_than_frames():
    for step in (2, 3, 4, 12):
        assert read([label(f, 60) for f in range(0, 360, step)]).fps == 60
    uneven = [label(60 * i // 24, 60) for i in range(100)]
    assert read(uneven).fps == 60


def test_rows_may_be_more_than_frames():
    """A timecode of 24 from elsewhere beside a camera of 60."""
    exact = np.arange(300) * 24 / 60
    whole = exact.astype(int)
    parts = np.round((exact - whole) * 1000).astype(int)
    times = read([label(f, 24, thousandths=t) for f, t in zip(whole, parts, strict=True)])
    assert times.fps == 60
    np.testing.assert_allclose(times.seconds, np.arange(300) / 60, atol=1e-3)


def last_lost(rate, seconds=6):
    return [f for f in range(rate * seconds) if f % rate != rate - 1]


@pytest.mark.parametrize("rate", [25, 30, 50, 60])
def test_a_take_that_loses_the_last_frame_of_every_second(rate):
    """Of 25 a second the labels are those of 24, and a note says it; one frame that is kept tells."""
    lost = [label(f, rate) for f in last_lost(rate)]
    times = read(lost)
    if rate == 25:
        assert times.fps == 24 and "of a take at 25 that lost the last frame" in times.notes[0]
        assert lost == [label(f, 24) for f in range(24 * 6)]
        lost.insert(24, label(24, rate))
        times = read(lost)
    assert times.fps == rate and times.notes == ()
    assert times.seconds[-1] == pytest.approx((6 * rate - 2) / rate)
    assert read(lost, fps=float(rate)).frame[-1] == 6 * rate - 2


@pytest.mark.parametrize("rate", [24, 25])
def test_rows_of_a_faster_camera_tell_25_from_24(rate):
    """At 60 rows a second; what belongs to frame 24 is lost."""
    exact = np.arange(300) * rate / 60
    exact = exact[exact.astype(int) % rate < 24]
    whole = exact.astype(int)
    parts = np.round((exact - whole) * 1000).astype(int)
    times = read([label(f, rate, thousandths=t) for f, t in zip(whole, parts, strict=True)])
    assert times.fps == 60 and times.notes == ()
    np.testing.assert_allclose(times.seconds, exact / rate, atol=1e-3)


def test_slow_rates_need_several_seconds():
    assert read([label(f, 15) for f in range(60)]).fps == 15
    assert read([label(f, 15) for f in range(8, 22)]).fps == 60


def test_the_users_rate_wins():
    labels = [label(f, 30) for f in range(90)]
    assert read(labels).fps == 30 and read(labels, fps=60.0).fps == 60
    slow = read(labels, fps=29.97)  # labelled as 30
    assert slow.seconds[-1] == pytest.approx(89 / 29.97) and slow.fps == 29.97
    with pytest.raises(Refused, match="row 26: frame 24 of a second, at 24 a second; set fps"):
        read(labels, fps=24.0)
    with pytest.raises(Refused, match="fps is -1"):
        read(labels, fps=-1.0)


@pytest.mark.parametrize("counted, left_out", [(30, 2), (60, 4)])
def test_drop_frame_labels_keep_up_with_the_clock(counted, left_out):
    labels = [label(f, counted, start=36000 + 55, mark=";") for f in range(5 * counted)]
    labels += [label(f, counted, start=36060, mark=";") for f in range(left_out, 5 * counted)]
    times = read(labels)
    assert times.fps == pytest.approx(counted * 1000 / 1001)
    np.testing.assert_array_equal(times.frame, np.arange(len(labels)))
    np.testing.assert_allclose(np.diff(times.seconds), 1.001 / counted, atol=1e-9)
    every = [label(f, counted, start=36000 + 55, mark=";") for f in range(10 * counted)]
    assert read(every).fps == counted  # nothing is left out: semicolons alone


def test_midnight_and_hours():
    for mark in ":;":
        frames = np.arange(-50, 60)
        times = read([label(86400 * 30 + f, 30, start=0, mark=mark) for f in frames])
        np.testing.assert_array_equal(times.frame, np.arange(110))
        assert times.fps == pytest.approx(30, rel=0.002) and times.notes == ()
    assert read(["09:59:59:00", "10:00:00:00"], fps=60.0).frame[-1] == 60


def test_clock_times():
    times = read([f"00:00:{i / 30:06.3f}" for i in range(90)])
    assert times.fps == 30 and times.seconds[-1] == pytest.approx(89 / 30, abs=1e-3)
    times = read(["23:59:59.980", "00:00:00,020"])
    assert times.fps == 25 and times.seconds[-1] == pytest.approx(0.04)


@pytest.mark.parametrize(
    "texts, words",
    [
        (["10:00:00"], "row 2: the timecode '10:00:00' is not HH:MM:SS:FF"),
        (["10:00:00:00", "10:61:00:00"], "row 3: .* no such minute"),
        (["10:00:01:00", "10:00:00:00"], "row 3: .* backward"),
        (["10:00:01.000", "10:00:00.000"], "row 3: .* backward"),
        (["10:00:00:300"], "row 2: frame 300"),
        (["10:00:00:75", "10:00:00:76"], "row 2: frame 75 of a second, at 60"),
    ],
)
def test_wrong_timecodes(texts, words):
    with pytest.raises(Refused, match=words):
        read(texts)
