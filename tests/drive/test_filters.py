"""Smoothing, resampling, and fitting motions to heads."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zero1a_jax import drive
from zero1a_jax.types import Camera, FlameParams, Motion


def motion(frames=9, seed=0, version="tiny", fps=30.0, camera=False):
    rng = np.random.default_rng(seed)
    shapes = {"shape": (5,), "expression": (4,), "rotation": (3,), "neck": (3,), "jaw": (3,), "eyes": (2, 3)}
    draw = {n: rng.normal(size=(frames, *s)).astype(np.float32) for n, s in shapes.items()}
    draw["shape"][:] = draw["shape"][:1]
    flame = FlameParams(**draw, translation=rng.normal(size=(frames, 3)).astype(np.float32))
    cameras = None
    if camera:
        matrix = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
        matrix[:, :3, :3] = Rotation.from_rotvec(np.outer(np.linspace(0, 1, frames), [0, 1, 0])).as_matrix()
        matrix[:, 2, 3] = 1
        pair = np.stack([np.linspace(100, 200, frames)] * 2, -1).astype(np.float32)
        cameras = Camera(matrix, pair, pair, 64, 64)
    return Motion(flame, cameras, fps, version)


def test_moving_average_is_the_mean_of_the_window():
    source = motion()
    out = drive.moving_average(source, 3)
    x = source.flame.jaw
    np.testing.assert_allclose(out.flame.jaw[4], x[3:6].mean(0), rtol=1e-5)
    np.testing.assert_allclose(out.flame.jaw[0], x[:2].mean(0), rtol=1e-5)
    np.testing.assert_allclose(out.flame.jaw[-1], x[-2:].mean(0), rtol=1e-5)
    np.testing.assert_allclose(out.flame.eyes[4], source.flame.eyes[3:6].mean(0), rtol=1e-5)
    np.testing.assert_allclose(drive.moving_average(source, 1).flame.jaw, x, rtol=1e-6)
    for width in (0, 2, -1):
        with pytest.raises(ValueError, match="odd"):
            drive.moving_average(source, width)


def test_resample_keeps_what_it_hits_and_halves_between():
    source = motion(camera=True)
    out = drive.resample(source, 60)
    assert out.fps == 60 and len(out.flame.jaw) == 17
    for name, value in vars(source.flame).items():
        near = np.pi > np.abs(np.linalg.norm(np.atleast_2d(value), axis=-1)).max() if value.ndim > 1 else True
        if near or name in ("shape", "expression", "translation"):
            np.testing.assert_allclose(getattr(out.flame, name)[::2], value, atol=1e-5)
    half = (source.flame.expression[:-1] + source.flame.expression[1:]) / 2
    np.testing.assert_allclose(out.flame.expression[1::2], half, atol=1e-6)
    np.testing.assert_allclose(out.camera.focal[1::2, 0], (source.camera.focal[:-1] + 6.25)[:, 0], rtol=1e-5)
    matrices = out.camera.world_to_camera
    np.testing.assert_allclose(matrices[::2], source.camera.world_to_camera, atol=1e-6)
    np.testing.assert_allclose(
        matrices[:, :3, :3] @ matrices[:, :3, :3].transpose(0, 2, 1),
        np.eye(3)[None] + 0 * matrices[:, :3, :3],
        atol=1e-6,
    )


def test_rotations_take_the_short_arc_at_even_speed():
    turn = np.zeros((2, 3), np.float32)
    turn[:, 1] = [np.radians(170), np.radians(-170)]  # 20 degrees apart, across the back
    source = motion(2, fps=1.0)
    source = source.replace(flame=dataclasses.replace(source.flame, rotation=turn))
    out = Rotation.from_rotvec(drive.resample(source, 4).flame.rotation).as_matrix()
    angles = [np.degrees(np.arccos((np.trace(a.T @ b) - 1) / 2)) for a, b in zip(out, out[1:], strict=False)]
    np.testing.assert_allclose(angles, 5, atol=1e-2)


def test_resample_single_frame_and_bad_rate():
    assert len(drive.resample(motion(1), 60).flame.jaw) == 1
    assert len(drive.resample(motion(9), 10).flame.jaw) == 3
    with pytest.raises(ValueError, match="fps"):
        drive.resample(motion(), 0)


def test_retarget_keeps_matching_coefficients(tiny):
    out = drive.retarget(motion(), tiny())
    for name, value in vars(motion().flame).items():
        np.testing.assert_array_equal(getattr(out.flame, name), value)
    longer = drive.retarget(motion(), tiny(names=("a",) * 6, shapes=8), shape=np.arange(3.0))
    np.testing.assert_array_equal(longer.flame.expression[:, :4], motion().flame.expression)
    assert not longer.flame.expression[:, 4:].any()
    np.testing.assert_array_equal(longer.flame.shape, [[0, 1, 2, 0, 0, 0, 0, 0]] * 9)
    shorter = drive.retarget(motion(), tiny(names=("a", "b")))
    np.testing.assert_array_equal(shorter.flame.expression, motion().flame.expression[:, :2])


def test_retarget_refuses_foreign_coefficients(tiny):
    foreign = motion(version="flame2020")
    with pytest.raises(ValueError, match="drop"):
        drive.retarget(foreign, tiny(), shape=np.zeros(5))
    with pytest.raises(ValueError, match="shape"):
        drive.retarget(foreign, tiny(), expression="drop")
    out = drive.retarget(foreign, tiny(), shape=np.zeros(5), expression="drop", root="drop")
    assert not out.flame.expression.any() and not out.flame.rotation.any() and not out.flame.translation.any()
    np.testing.assert_array_equal(out.flame.jaw, foreign.flame.jaw)
    assert out.flame_version == "tiny"
    unknown = motion(version="unknown")
    drive.retarget(unknown, tiny(names=(), version="flame2020"))
    with pytest.raises(ValueError, match="drop"):
        drive.retarget(unknown, tiny(), shape=np.zeros(5))
    with pytest.raises(ValueError, match="shape coefficients"):
        drive.retarget(motion(), tiny(), shape=np.zeros(6))


def test_one_euro_is_the_published_filter():
    """Against the pseudo code of Casiez et al. 2012, a value at a time."""
    random = np.random.default_rng(1)
    seconds, values = np.cumsum(random.uniform(0.01, 0.05, 40)), random.normal(size=(40, 2))
    found = drive.one_euro(values, seconds, cutoff=1.2, beta=0.7, derivative_cutoff=0.9, both_ways=False)
    for column in range(2):
        last, slope = values[0, column], 0.0
        for t in range(1, 40):
            step = seconds[t] - seconds[t - 1]

            def alpha(cutoff, step=step):
                return 1 / (1 + 1 / (2 * np.pi * cutoff) / step)

            raw = (values[t, column] - last) / step
            slope = alpha(0.9) * raw + (1 - alpha(0.9)) * slope
            share = alpha(1.2 + 0.7 * abs(slope))
            last = share * values[t, column] + (1 - share) * last
            np.testing.assert_allclose(found[t, column], last, rtol=1e-9)


def test_one_euro_both_ways_lags_behind_nothing_and_starts_anew_at_a_cut():
    seconds = np.arange(200) / 25
    wave = np.sin(2 * np.pi * 0.5 * seconds)[:, None]
    noisy = wave + 0.1 * np.random.default_rng(0).normal(size=wave.shape)
    lags = {}
    for both in (False, True):
        found = drive.one_euro(noisy, seconds, cutoff=1.0, beta=0.5, both_ways=both)
        lags[both] = np.argmax([wave[: 180 - 20, 0] @ found[k : k + 160, 0] for k in range(20)])
        assert np.std(np.diff(found, 2, axis=0)) < 0.5 * np.std(np.diff(noisy, 2, axis=0))
    assert lags == {False: lags[False], True: 0} and lags[False] > 0
    shots = np.repeat([0, 1], 100)
    step = np.where(shots == 0, 0.0, 1.0)[:, None]
    np.testing.assert_array_equal(drive.one_euro(step, seconds, shots), step)
