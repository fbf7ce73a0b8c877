"""Live Link Face recordings: names, timecode, and what they do to a head."""

import csv
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zero1a_jax import drive
from zero1a_jax.converters import livelink
from zero1a_jax.flame import forward, procedural_head, zero_params
from zero1a_jax.types import ArkitMap, Recording

FIXTURES = (
    Path(os.environ.get("ZERO1A_FIXTURES", Path(__file__).parents[1] / "fixtures")) / "flame" / "drivers"
)


@pytest.mark.parity
def test_reads_the_reference_recording():
    with np.load(FIXTURES / "livelink_expected.npz") as truth:
        recording = livelink.load(FIXTURES / "livelink.csv", fps=float(truth["fps"]))
        assert recording.names == tuple(truth["names"])
        np.testing.assert_allclose(recording.weights, truth["weights"], atol=1e-12)
        np.testing.assert_allclose(recording.rotations, truth["rotations"], atol=1e-12)
        np.testing.assert_array_equal(recording.frame, truth["frame"])


def write(path, times, *, header=None, rows=None):
    header = header or ["Timecode", "BlendShapeCount", "EyeBlinkLeft", "JawOpen", *livelink.ROTATIONS]
    if rows is None:
        rows = [[t, 61, 0.1 * i, 0.5, *[0.01 * i] * 9] for i, t in enumerate(times)]
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_columns_are_found_by_name_whatever_their_order_and_case(tmp_path, tiny):
    straight = livelink.load(write(tmp_path / "a.csv", ["00:00:00:00.0", "00:00:00:01.0"]))
    with open(tmp_path / "a.csv", newline="") as file:
        table = list(csv.reader(file))
    turned = [[cell.upper() if i == 0 else cell for cell in row[::-1]] for i, row in enumerate(table)]
    mixed = livelink.load(write(tmp_path / "b.csv", [], header=turned[0], rows=turned[1:]))
    np.testing.assert_array_equal(mixed.rotations, straight.rotations)
    head = tiny()
    np.testing.assert_array_equal(
        drive.arkit_expression(mixed.names, mixed.weights, head),
        drive.arkit_expression(straight.names, straight.weights, head),
    )


def test_older_files_lack_columns(tmp_path, tiny):
    header = ["Timecode", "BlendShapeCount", "JawOpen"]
    path = write(tmp_path / "a.csv", [], header=header, rows=[["00:00:00:00.000", 51, 0.25]])
    recording = livelink.load(path)
    assert recording.names == ("JawOpen",) and not recording.rotations.any()
    motion = drive.livelink_motion(recording, tiny())
    np.testing.assert_allclose(motion.flame.expression, [[0, 0.25, 0, 0]])


@pytest.mark.parametrize(
    "times, fps, frames",
    [
        (["10:00:00:58.5", "10:00:00:59.5", "10:00:01:00.5"], 60, [0, 1, 2]),
        (["10:00:00:29.0", "10:00:01:00.0", "10:00:01:03.0"], 30, [0, 1, 4]),  # two frames dropped
        (["23:59:59:59.0", "00:00:00:00.0"], 60, [0, 1]),  # midnight
        (["09:59:59:00.0", "10:00:00:00.0"], 60, [0, 60]),
    ],
)
def test_timecode(times, fps, frames, tmp_path):
    recording = livelink.load(write(tmp_path / "a.csv", times), fps=fps)
    np.testing.assert_array_equal(recording.frame, frames)
    np.testing.assert_allclose(recording.seconds, np.array(frames) / fps, atol=1e-9)


def test_dropped_frames_are_filled_on_an_even_grid(tmp_path, tiny):
    path = write(tmp_path / "a.csv", ["00:00:00:00.0", "00:00:00:01.0", "00:00:00:03.0"])
    motion = drive.livelink_motion(livelink.load(path), tiny())
    np.testing.assert_allclose(motion.flame.expression[:, 0], [0, 0.1, 0.15, 0.2], atol=1e-6)
    assert motion.fps == 60 and motion.flame_version == "tiny"


def test_rotations_turn_the_right_joints_the_right_way(tmp_path, tiny):
    rows = [["00:00:00:00.0", 61, 0, 0, 0.3, 0.2, 0.1, 0.4, 0, 0, 0, -0.5, 0]]
    motion = drive.livelink_motion(livelink.load(write(tmp_path / "a.csv", [], rows=rows)), tiny())
    forward = np.array([0.0, 0, 1])
    expected = Rotation.from_euler("y", 0.3) * Rotation.from_euler("x", 0.2) * Rotation.from_euler("z", 0.1)
    neck = Rotation.from_rotvec(motion.flame.neck[0])
    np.testing.assert_allclose(neck.as_matrix(), expected.as_matrix(), atol=1e-6)
    left = Rotation.from_rotvec(motion.flame.eyes[0, 0]).apply(forward)
    right = Rotation.from_rotvec(motion.flame.eyes[0, 1]).apply(forward)
    assert left[0] > 0.3 and abs(left[1]) < 1e-6  # yaw > 0: to the subject's left, +x
    assert right[1] > 0.3 and abs(right[0]) < 1e-6  # pitch < 0: up
    assert not motion.flame.rotation.any() and not motion.flame.jaw.any()
    mirrored = drive.livelink_motion(livelink.load(tmp_path / "a.csv"), tiny(), signs=(-1, 1, 1))
    assert Rotation.from_rotvec(mirrored.flame.eyes[0, 0]).apply(forward)[0] < -0.3


def test_gaze_that_is_recorded_twice_turns_the_eyes_once():
    head = procedural_head()
    names = ("EyeLookOutLeft", "EyeLookInRight", "JawOpen")
    rotations = np.zeros((2, 9))
    rotations[:, [3, 6]] = 0.36  # what a weight of 0.8 turns an eye by
    frames = np.arange(2)
    shapes = Recording(np.full((2, 3), 0.8), 0 * rotations, frames, frames / 30, names, 30.0)
    iris = np.asarray(head.masks["iris"]) & np.asarray(head.masks["left_eyeball"])

    def moved(recording):
        motion = drive.livelink_motion(recording, head).flame
        jaw = motion.expression[0, head.expression_names.index("jawOpen")]
        assert jaw == pytest.approx(0.8)
        flame = jax.tree.map(lambda x: x[0], motion)
        at = [np.asarray(forward(head, params)[0])[iris].mean(0) for params in (flame, zero_params(head))]
        return (at[0] - at[1])[0]  # metres to the subject's left

    by_shapes = moved(shapes)
    assert by_shapes > 0.003
    assert moved(shapes.replace(rotations=rotations)) == pytest.approx(by_shapes, rel=0.1)


def test_heads_without_named_shapes_need_a_matrix(tmp_path, tiny):
    recording = livelink.load(write(tmp_path / "a.csv", ["00:00:00:00.0", "00:00:00:01.0"]))
    flame = tiny(names=(), version="flame2020")
    with pytest.raises(ValueError, match="arkit_map"):
        drive.livelink_motion(recording, flame)
    arkit = ArkitMap(*(np.arange(12.0).reshape(2, *shape) for shape in ((6,), (6,), (2, 3))), recording.names)
    arkit = arkit.replace(jaw=np.ones((2, 3)))
    motion = drive.livelink_motion(recording, flame, arkit=arkit, gain=2)
    np.testing.assert_allclose(motion.flame.expression, 2 * recording.weights @ arkit.expression, rtol=1e-6)
    swapped = arkit.replace(names=tuple(name.upper() for name in recording.names[::-1]))
    swapped = drive.livelink_motion(recording, flame, arkit=swapped, gain=2).flame
    np.testing.assert_allclose(
        swapped.expression, 2 * recording.weights[:, ::-1] @ arkit.expression, rtol=1e-6
    )
    assert motion.flame.eyes[1, 0, 1] == pytest.approx(0.01, rel=0.1)  # the recording's own
    still = recording.replace(rotations=0 * recording.rotations)
    eyes = drive.livelink_motion(still, flame, arkit=arkit, gain=2).flame.eyes
    np.testing.assert_allclose(eyes, 2 * np.einsum("tk,kec->tec", recording.weights, arkit.eyes), rtol=1e-6)
    with pytest.raises(ValueError, match="coefficients"):
        drive.livelink_motion(recording, flame, arkit=arkit.replace(expression=np.zeros((2, 5))))
    with pytest.raises(ValueError, match="none of"):
        drive.livelink_motion(recording, flame, arkit=arkit.replace(names=("a", "b")))
    with pytest.raises(ValueError, match="none of"):
        drive.livelink_motion(recording, tiny(names=("a", "b")))


@pytest.mark.parametrize(
    "times, words",
    [
        (["0:0:0"], "HH:MM:SS"),
        (["00:00:00:60.0"], "set fps"),
        (["00:00:01:00.0", "00:00:00:00.0"], "backward"),
    ],
)
def test_bad_timecodes_are_named(times, words, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        livelink.load(write(tmp_path / "a.csv", times))
    assert f"row {len(times) + 1}" in str(caught.value)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "no rows"),
        (b"Timecode,JawOpen\n", "no rows"),
        (b"Time,JawOpen\n1,2\n", "Timecode"),
        (b"Timecode,JawOpen\n00:00:00:00.0\n", "cells"),
        (b"Timecode,JawOpen\n00:00:00:00.0,wide\n", "wide"),
        (b"Timecode,JawOpen\n00:00:00:00.0,nan\n", "not finite"),
        (b"Timecode,JawOpen,jawopen\n00:00:00:00.0,1,1\n", "same name"),
        (b"\xff\xfe\x00", "text"),
    ],
)
def test_bad_files_are_refused_in_words(content, words, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        livelink.load(tmp_path / "a.csv")
    assert "a.csv" in str(caught.value)
