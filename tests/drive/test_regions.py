"""Which parts of a face a motion moves, how much, and in which range."""

import dataclasses

import numpy as np
import pytest

from zero1a_jax import drive
from zero1a_jax.converters.arkit import NAMES
from zero1a_jax.errors import Refused
from zero1a_jax.flame import procedural_head
from zero1a_jax.retargeting import AS_RECORDED, Retargeting
from zero1a_jax.types import FlameParams, Motion, Recording


def take(weights=0.4, names=NAMES, frames=5):
    weights = np.broadcast_to(weights, (frames, len(names))).astype(float)
    seconds = np.arange(frames) / 25
    return Recording(weights, np.full((frames, 9), 0.2), np.arange(frames), seconds, tuple(names), 25.0)


def moved(found):
    return {name for name, value in zip(found.names, found.weights[0], strict=True) if value}


def test_regions_of_named_shapes():
    plain = drive.region_of_recording(take(), AS_RECORDED)
    np.testing.assert_array_equal(plain.weights, take().weights)
    np.testing.assert_array_equal(plain.rotations, take().rotations)
    mouth = drive.region_of_recording(take(), Retargeting(region="mouth"))
    eyes = drive.region_of_recording(take(), Retargeting(region="eyes"))
    assert {"jawOpen", "mouthSmileLeft", "tongueOut"} <= moved(mouth)
    assert moved(eyes) == {name for name in NAMES if name.startswith("eye")}
    assert not moved(mouth) & moved(eyes) and not mouth.rotations.any()
    assert not eyes.rotations[:, :3].any() and eyes.rotations[:, 3:].all()
    face = drive.region_of_recording(take(), Retargeting(region="face"))
    assert moved(face) == set(NAMES) and not face.rotations[:, :3].any()
    head = drive.region_of_recording(take(), Retargeting(region="head"))
    assert not moved(head) and head.rotations[:, :3].all() and not head.rotations[:, 3:].any()


def test_factors():
    how = Retargeting(strength=0.5, blink=2.0, gaze=0.25, head_turn=0.0)
    found = drive.region_of_recording(take(), how)
    value = dict(zip(found.names, found.weights[0], strict=True))
    assert value["jawOpen"] == pytest.approx(0.2) and value["eyeBlinkLeft"] == pytest.approx(0.8)
    assert value["eyeLookUpLeft"] == pytest.approx(0.1) and value["eyeSquintLeft"] == pytest.approx(0.2)
    assert not found.rotations[:, :3].any() and found.rotations[0, 4] == pytest.approx(0.05)
    strong = drive.region_of_recording(take(0.6), Retargeting(strength=3.0))
    assert strong.weights.max() == 1.0  # a grown shape stays within its reach


@pytest.mark.parametrize("low, high", [(0.15, 0.4), (0.0, 0.3), (0.3, 0.9)])
def test_a_jaw_of_another_range_reaches_the_avatars(low, high):
    names = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "eyeLookUpLeft")
    wave = np.clip(np.sin(np.arange(400) / 8), 0, 1)
    weights = np.stack([low + (high - low) * wave, 0.7 * wave, 0.35 * wave, 0.05 * wave, 0.4 * wave], 1)
    weights[7, 0] = 1.0  # a spike of the tracker's
    recording = take(weights, names, 400)
    rested = drive.calibrated(recording, "rest").weights
    assert np.percentile(rested[:, 0], 40) == pytest.approx(0, abs=1e-9) and rested[7, 0] == 1.0
    found = drive.calibrated(recording, "range").weights
    assert found[:, 0].min() == 0 and np.percentile(found[:, 0], 99) > 0.75 and found.max() <= 1
    np.testing.assert_allclose(found[:, 1], 2 * found[:, 2], atol=1e-3)  # lopsided stays lopsided
    assert np.percentile(found[:, 1], 99) > 0.95
    np.testing.assert_allclose(found[:, 3:], weights[:, 3:], atol=1e-9)  # barely used, and gaze
    np.testing.assert_array_equal(drive.calibrated(recording, "none").weights, weights)


def coefficients(model, frames=4):
    full = {n: np.full((frames, 3), 0.1, np.float32) for n in ("rotation", "neck", "jaw", "translation")}
    expression = np.full((frames, model.expression_basis.shape[2]), 0.4, np.float32)
    shape = np.zeros((frames, model.shape_basis.shape[2]), np.float32)
    flame = FlameParams(shape=shape, expression=expression, eyes=np.full((frames, 2, 3), 0.1), **full)
    return Motion(flame, None, 25.0, model.version)


def test_regions_of_coefficients():
    model = procedural_head()
    named = drive.region_of_motion(coefficients(model), model, Retargeting(region="eyes", blink=0.0)).flame
    on = {n for n, v in zip(model.expression_names, named.expression[0], strict=True) if v}
    assert on and all(name.startswith("eye") and "Blink" not in name for name in on)
    assert not named.jaw.any() and not named.neck.any() and named.eyes.all()
    # a head whose coefficients have no names: lips are told from eyes by what moves there
    nameless = dataclasses.replace(model, expression_names=(), version="flame2020")
    source = coefficients(nameless)
    moves = {}
    for region in ("all", "mouth", "eyes"):
        out = drive.region_of_motion(source, nameless, Retargeting(region=region)).flame.expression[0]
        offsets = np.linalg.norm(model.expression_basis @ out, axis=-1)
        eyes, mouth = (np.asarray(model.masks[m]) for m in ("eye_region", "lips"))
        moves[region] = (offsets[mouth].max(), offsets[eyes].max())
    assert moves["mouth"][0] > 0.5 * moves["all"][0] and moves["mouth"][1] < 0.3 * moves["all"][1]
    assert moves["eyes"][1] > 0.5 * moves["all"][1] and moves["eyes"][0] < 0.3 * moves["all"][0]
    with pytest.raises(Refused, match="--blink needs shapes with names"):
        drive.region_of_motion(source, nameless, Retargeting(blink=0.5))
