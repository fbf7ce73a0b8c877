"""A film of a synthetic face, whose motion is known, through MediaPipe back to a motion."""

import operator
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from zero1a_jax import outputs, synthetic
from zero1a_jax.flame import frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.sources import motions

FPS, SIZE, SECONDS = 25.0, 256, 8.0
PEOPLE = (20_001, 20_002, 20_004)


@pytest.fixture
def assets():
    folder = os.environ.get("ZERO1A_ASSETS", "")
    if not folder or not (Path(folder) / "face_landmarker.task").is_file():
        pytest.skip("set ZERO1A_ASSETS to a folder with face_landmarker.task")
    pytest.importorskip("mediapipe")
    return folder


def acted(seed, frames=int(SECONDS * FPS)):
    """What the face does: weights of jawOpen, mouthSmile and eyeBlink, yaw and pitch in radians, each [T]."""
    random, time = np.random.default_rng(seed), np.arange(frames) / FPS

    def drift(period):
        rates, phases = random.uniform((0.7, 0), (1.4, 1), (3, 2)).T
        values = np.sin(2 * np.pi * (time[:, None] * rates / period + phases)).sum(1)
        return values / np.abs(values).max()

    middles = np.cumsum(random.uniform(0.8, 1.8, 12))
    blink = np.clip(1.3 - np.abs(time[:, None] - middles).min(1) / 0.09, 0, 1)
    return {
        "jawOpen": np.clip(drift(1.2), 0, 1),
        "mouthSmile": np.clip(drift(2.5), 0, 1),
        "eyeBlink": blink,
        "yaw": np.radians(20) * drift(3.0),
        "pitch": np.radians(10) * drift(2.2),
    }


def params_of(model, act):
    expression = np.zeros((len(act["yaw"]), len(model.expression_names)), np.float32)
    for k, name in enumerate(model.expression_names):
        base = name.removesuffix("Left").removesuffix("Right")
        if base in act:
            expression[:, k] = act[base]
    angles = np.stack([act["yaw"], act["pitch"], np.zeros_like(act["yaw"])], -1)
    neck = Rotation.from_euler("YXZ", angles).as_rotvec().astype(np.float32)
    return zero_params(model, (len(neck),)).replace(expression=expression, neck=neck)


def filmed(model, seed, params):
    """Frames uint8 [T, SIZE, SIZE, 3] of a beardless person before a grey wall."""
    shape, look = synthetic.identity(jax.random.key(seed))
    look = look.replace(beard_thickness=jnp.zeros(()), stubble=jnp.zeros(()))
    camera = portrait_camera(frame_target(model, shape), 0.0, 0.0, SIZE)

    @jax.jit
    def picture(one):
        rgb, alpha = synthetic.render(model, look, one.replace(shape=shape), camera)
        return rgb * alpha[..., None] + 0.75 * (1 - alpha[..., None])

    for k in range(len(params.neck)):
        yield np.asarray(picture(jax.tree.map(operator.itemgetter(k), params)) * 255 + 0.5, np.uint8)


def correlations(model, flame, act):
    """Over time, of each thing acted with what was found."""
    names = list(model.expression_names)
    found = {
        name: np.mean(
            [np.asarray(flame.expression)[:, k] for k, n in enumerate(names) if n.startswith(name)], axis=0
        )
        for name in ("jawOpen", "mouthSmile", "eyeBlink")
    }
    angles = Rotation.from_rotvec(np.asarray(flame.neck)).as_euler("YXZ")
    found |= {"yaw": angles[:, 0], "pitch": angles[:, 1]}
    return {name: float(np.corrcoef(values, act[name])[0, 1]) for name, values in found.items()}, found


def jumpy(one, other):
    """A film of two films' frames [T, H, W, 3]: a gap, a second face beside the first, a cut to `other`."""
    first, second = list(one[:120]), list(other[:60])
    for t in range(30, 38):
        first[t] = np.full_like(first[t], 190)  # the face is gone
    wide = [np.concatenate([frame, np.full_like(frame, 190)], 1) for frame in first]
    for t in range(60, 100):  # somebody else stands beside
        wide[t][:, SIZE:] = other[t]
    cut = [np.concatenate([np.full_like(frame, 60), frame], 1) for frame in second]
    return wide + cut


def steps(flame):
    """The most that weights, and the head's turn in degrees, change from frame to frame."""
    weights = np.abs(np.diff(np.asarray(flame.expression), axis=0)).max(1)
    turns = Rotation.from_rotvec(np.asarray(flame.neck))
    return weights, np.degrees((turns[1:] * turns[:-1].inv()).magnitude())


@pytest.mark.slow
def test_gaps_two_faces_and_a_cut_do_not_jump(assets, tmp_path):
    model = procedural_head()
    acts = [{k: v[:120] for k, v in acted(seed).items()} for seed in PEOPLE[:2]]
    pair = zip(PEOPLE, acts, strict=False)
    films = [np.stack(list(filmed(model, seed, params_of(model, act)))) for seed, act in pair]
    check_no_jump(films, acts[0], model, assets, tmp_path)


def check_no_jump(films, act, model, assets, folder):
    """The film of both moves no faster than the first alone does, and follows him until the cut."""
    outputs.video.write(folder / "one.mp4", films[0][:120], FPS)
    outputs.video.write(folder / "jumpy.mp4", jumpy(*films), FPS)
    alone = motions.load(folder / "one.mp4", model, assets=assets)
    motion = motions.load(folder / "jumpy.mp4", model, assets=assets)
    assert len(motion.flame.jaw) == 180
    text = " ".join(motion.notes)
    assert "several faces" in text and "were bridged" in text and " cut" in text, text
    (usual, usual_turn), (found, turn) = steps(alone.flame), steps(motion.flame)
    print(f"most a frame: weights {found.max():.2f} (alone {usual.max():.2f}), "
          f"turn {turn.max():.1f} ({usual_turn.max():.1f}) degrees")  # fmt: skip
    assert turn.max() < 1.5 * usual_turn.max() and found.max() < 1.5 * usual.max()
    there = np.r_[0:28, 40:112]
    followed = Rotation.from_rotvec(np.asarray(motion.flame.neck)[:120]).as_euler("YXZ")[:, 0]
    assert np.corrcoef(followed[there], act["yaw"][there])[0, 1] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", PEOPLE)
def test_what_was_acted_is_found(seed, assets, tmp_path):
    model, act = procedural_head(), acted(seed)
    outputs.video.write(tmp_path / "face.mp4", filmed(model, seed, params_of(model, act)), FPS)
    motion = motions.load(tmp_path / "face.mp4", model, assets=assets)
    assert len(motion.flame.jaw) == len(act["yaw"]) and motion.fps == FPS
    found, _ = correlations(model, motion.flame, act)
    print(seed, {name: round(value, 3) for name, value in found.items()})
    assert min(found[name] for name in ("jawOpen", "mouthSmile", "yaw", "pitch")) > 0.9, found
    assert found["eyeBlink"] > 0.8, found
