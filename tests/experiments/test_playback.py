"""Exported avatars, loaded and rendered along sequences."""

import jax
import numpy as np
import pytest

from experiments import animate, playback
from zero1a_jax import avatar as avatar_room
from zero1a_jax import drive, outputs
from zero1a_jax import flame as flame_room
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.types import Motion

SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = flame_room.procedural_head()
    avatar = avatar_room.bind(
        jax.random.key(0),
        model,
        flame_room.zero_params(model).shape,
        capacity=len(model.faces) + 10,
        opacity=0.9,
    )
    # Coloured at random: on a grey head a moving part is not seen before the others.
    colours = np.random.default_rng(0).normal(size=avatar.gaussians.sh.shape).astype(np.float32)
    avatar = avatar.replace(gaussians=avatar.gaussians.replace(sh=colours))
    posed = jax.jit(avatar_room.pose)(avatar, model, flame_room.zero_params(model))
    path = tmp_path_factory.mktemp("run")
    meta = {"flame_version": model.version, "faces": len(model.faces)}
    outputs.save_avatar(path / "export", avatar, posed, meta)
    return path


def test_padding_changes_no_pixel_and_chunks_are_in_order(folder):
    loaded = playback.load(folder)
    plain, _ = outputs.load_avatar(folder / "export")
    count = playback.CHUNK + 1
    target = flame_room.frame_target(loaded.model, plain.shape)
    cameras = portrait_camera(target, np.linspace(-1, 1, count), np.zeros(count), SIZE)
    flame = flame_room.zero_params(loaded.model, (count,))
    padded = list(playback.render(loaded.avatar, loaded.model, flame, cameras, background=np.ones(3)))
    assert len(padded) == count and padded[0][0].shape == (SIZE, SIZE, 3)
    sums = [rgb.sum() for rgb, _ in padded]
    assert len(set(np.round(sums, 2))) > count // 2  # the head turns
    last = jax.tree.map(lambda x: x[-1:], (flame, cameras))
    (own,) = playback.render(plain, loaded.model, *last, background=np.ones(3))
    np.testing.assert_allclose(own[0], padded[-1][0], atol=1e-5)
    assert 0.2 < own[1].mean() < 0.9


def test_the_wrong_head_is_refused(folder, monkeypatch):
    other = flame_room.procedural_head().replace(version="another")
    monkeypatch.setattr(flame_room, "procedural_head", lambda: other)
    with pytest.raises(ValueError, match="another"):
        playback.load(folder)


def test_animates_a_file(folder, tmp_path):
    model = flame_room.procedural_head()
    flame = flame_room.zero_params(model, (6,))
    jaw = np.zeros((6, 3), np.float32)
    jaw[:, 0] = np.linspace(0, 0.3, 6)
    drive.save_flame_npz(tmp_path / "m.npz", Motion(flame.replace(jaw=jaw), None, 25.0, model.version))
    animate.main(
        animate.Options(
            avatar=str(folder), motion=str(tmp_path / "m.npz"), out=str(tmp_path / "a.mp4"), size=SIZE
        )
    )
    frames, fps = outputs.video.read(tmp_path / "a.mp4")
    assert frames.shape == (6, SIZE, SIZE, 3) and fps == 25
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 10  # the mouth opened
