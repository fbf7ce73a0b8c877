"""A face as it is seen now: the same filter as for takes, rest in the first second, both eyes as one."""

import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax import drive
from zero1a_jax.drive import live, performance

GAZE = [f"eye{look}{side}" for pair in performance.GAZE for look in pair for side in ("Left", "Right")]


def turned(*degrees):
    return Rotation.from_euler("YXZ", degrees, degrees=True).as_matrix()


def test_the_filter_is_the_causal_one():
    rng = np.random.default_rng(0)
    values, seconds = rng.normal(size=(40, 3)), np.cumsum(rng.uniform(0.01, 0.1, 40))
    whole = drive.one_euro(values, seconds, cutoff=1.5, beta=2.0, both_ways=False)
    one = drive.OneEuro(1.5, 2.0)
    np.testing.assert_allclose([one(t, row) for t, row in zip(seconds, values, strict=True)], whole)
    one.restart()
    np.testing.assert_array_equal(one(99.0, values[3]), values[3])


def settled(face, scores, rotation, start):
    """What is seen after two seconds of the same."""
    for seconds in start + np.arange(0, 2, 0.04):
        weights, angles = face(seconds, scores, rotation, 0)
    return weights, np.degrees(angles)


def test_the_first_second_is_rest():
    face, camera = drive.LivePerformance(), turned(12, -8, 3)
    resting = {"jawOpen": 0.1, "mouthSmileLeft": 0.2}
    weights, angles = settled(face, resting, camera, 0.0)
    assert set(weights.values()) == {0.0}
    np.testing.assert_allclose(angles, 0, atol=1e-9)
    weights, angles = settled(face, {"jawOpen": 0.55, "mouthSmileLeft": 1.0}, camera @ turned(20, 5, -4), 5.0)
    np.testing.assert_allclose(weights["jawOpen"], 0.5 ** performance.RESPONSE["jawOpen"], atol=1e-3)
    np.testing.assert_allclose(weights["mouthSmileLeft"], 1.0, atol=1e-3)
    np.testing.assert_allclose(angles, [20, 5, -4], atol=0.1)
    face.calibrate()
    weights, angles = settled(
        face, {"jawOpen": 0.55, "mouthSmileLeft": 1.0}, camera @ turned(20, 5, -4), 10.0
    )
    assert max(weights.values()) < 1e-3 and np.abs(angles).max() < 0.1


def test_a_film_and_a_camera_agree():
    """On a take whose rest is its first second, but for what the film's filter knows of the future."""
    seconds = np.arange(0, 6, 0.04)
    move = np.clip(seconds - 1.2, 0, 1) * 0.5 + 0.2 * (seconds > 3)
    weights = np.stack([0.1 + move, 0.05 + 0 * move], 1)
    rotations = np.stack([turned(20 * m, 0, 0) for m in move])
    take = performance.recording(
        seconds,
        weights,
        rotations,
        np.zeros(len(seconds), int),
        ("jawOpen", "cheekPuff"),
        fps=25,
        neutral=0.5,
    )
    face = drive.LivePerformance()
    rows = [
        face(t, {"jawOpen": w[0], "cheekPuff": w[1]}, r, 0)
        for t, w, r in zip(seconds, weights, rotations, strict=True)
    ]
    np.testing.assert_allclose(rows[-1][0]["jawOpen"], take.weights[-1, 0], atol=0.01)
    np.testing.assert_allclose(rows[-1][1], take.rotations[-1, :3], atol=0.01)
    np.testing.assert_allclose([row[0]["jawOpen"] for row in rows], take.weights[:, 0], atol=0.3)


def test_both_eyes_look_the_same_way():
    face, nothing = drive.LivePerformance(), dict.fromkeys(GAZE, 0.1)
    settled(face, nothing, np.eye(3), 0.0)
    left = nothing | {"eyeLookOutLeft": 0.7, "eyeLookInRight": 0.3}
    weights, _ = settled(face, left, np.eye(3), 5.0)
    np.testing.assert_allclose([weights["eyeLookOutLeft"], weights["eyeLookInRight"]], 0.4, atol=1e-3)
    assert weights["eyeLookInLeft"] == weights["eyeLookUpLeft"] == 0


def test_another_shot_is_not_smoothed_into():
    face = drive.LivePerformance()
    settled(face, {"jawOpen": 0.0}, np.eye(3), 0.0)
    weights, _ = face(9.0, {"jawOpen": 1.0}, np.eye(3), 1)
    assert weights["jawOpen"] == 1.0 and live.CALIBRATION == 1.0
