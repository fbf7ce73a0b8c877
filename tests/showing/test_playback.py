"""Exported avatars, loaded and rendered along sequences."""

import jax
import numpy as np
import pytest

from experiments import animate
from zero1a_jax import api, outputs
from zero1a_jax.avatar import pose
from zero1a_jax.converters import flame_npz
from zero1a_jax.errors import Refused
from zero1a_jax.flame import frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera, resize
from zero1a_jax.showing import playback
from zero1a_jax.sources import avatars, heads
from zero1a_jax.types import Motion

SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory, exported):
    """Coloured at random: on a grey head a moving part is not seen before the others."""
    model = procedural_head()
    colours = np.random.default_rng(0).normal(size=(len(model.faces), 1, 3))
    return exported(tmp_path_factory.mktemp("run"), np.zeros(np.shape(model.shape_basis)[2]), colours)


def test_padding_adds_only_the_dead(folder):
    loaded = avatars.load(folder)
    plain, _ = outputs.load_avatar(folder / "export")
    count = len(plain.alive)
    assert len(loaded.avatar.alive) == -(-count // avatars.SLOTS) * avatars.SLOTS > count
    posed = jax.jit(pose)(loaded.avatar, loaded.model, zero_params(loaded.model))
    world, _ = outputs.ply.load(folder / "export" / "avatar_world.ply")
    np.testing.assert_allclose(posed.means[:count], world.means, atol=1e-6)
    assert (np.asarray(posed.opacity_logits)[count:] < -20).all()
    shown = playback.pose_function(loaded)(zero_params(loaded.model))
    assert len(shown.means) == count


def test_every_frame_comes_once_and_in_order(folder):
    loaded = avatars.load(folder)
    count = playback.CHUNK + 3
    target = frame_target(loaded.model, loaded.avatar.shape)
    cameras = portrait_camera(target, np.linspace(-1, 1, count), np.zeros(count), SIZE)
    flame = zero_params(loaded.model, (count,))
    frames = list(playback.render(loaded.avatar, loaded.model, flame, cameras, background=np.ones(3)))
    assert len(frames) == count and frames[0][0].shape == (SIZE, SIZE, 3)
    backward = jax.tree.map(lambda x: x[::-1], (flame, cameras))
    again = list(playback.render(loaded.avatar, loaded.model, *backward, background=np.ones(3)))
    for (rgb, alpha), (other, _) in zip(frames, again[::-1], strict=True):
        np.testing.assert_allclose(rgb, other, atol=1e-5)
        assert 0.2 < alpha.mean() < 0.9
    differences = [np.abs(a - b).mean() for (a, _), (b, _) in zip(frames, frames[1:], strict=False)]
    assert min(differences) > 1e-3  # the camera moves


@pytest.mark.parametrize("learned", [SIZE, 2 * SIZE, 2 * SIZE + 1])
def test_pictures_smaller_than_the_frames_are_means_of_finer_ones(folder, learned):
    loaded = avatars.load(folder)
    loaded = loaded._replace(meta=loaded.meta | {"size": learned})
    camera = portrait_camera(frame_target(loaded.model, loaded.avatar.shape), np.zeros(1), np.zeros(1), SIZE)
    flame, behind = zero_params(loaded.model, (1,)), np.ones(3)
    ((rgb, alpha),) = playback.shown(loaded, flame, camera, background=behind)
    finer = -(-learned // SIZE)
    views = resize(camera, finer * SIZE, finer * SIZE)
    # As many pixels as the frames have, or more, so that those are blurred as a larger picture is.
    blur = avatars.blur_for(loaded, finer * SIZE)
    ((fine, cover),) = playback.render(
        loaded.avatar, loaded.model, flame, views, background=behind, blur=blur
    )
    image = fine.reshape(SIZE, finer, SIZE, finer, 3)
    np.testing.assert_allclose(rgb, image.mean((1, 3)), atol=1e-6)
    np.testing.assert_allclose(alpha, cover.reshape(SIZE, finer, SIZE, finer).mean((1, 3)), atol=1e-6)


def test_the_wrong_head_is_refused(folder, monkeypatch):
    other = procedural_head().replace(version="another")
    monkeypatch.setattr(heads, "procedural_head", lambda: other)
    with pytest.raises(ValueError, match="another"):
        avatars.load(folder)


def test_animates_a_file(folder, tmp_path):
    model = procedural_head()
    flame = zero_params(model, (6,))
    jaw = np.zeros((6, 3), np.float32)
    jaw[:, 0] = np.linspace(0, 0.3, 6)
    flame_npz.save(tmp_path / "m.npz", Motion(flame.replace(jaw=jaw), None, 25.0, model.version))
    animate.main(
        animate.Options(
            avatar=str(folder), motion=str(tmp_path / "m.npz"), out=str(tmp_path / "a.mp4"), size=SIZE
        )
    )
    assert b"synthetic: made by zero1a_jax" in (tmp_path / "a.mp4").read_bytes()
    frames, fps = outputs.video.read(tmp_path / "a.mp4")
    assert frames.shape == (6, SIZE, SIZE, 3) and fps == 25
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 10  # the mouth opened


def test_a_video_replaces_ours_and_nothing_else(folder, tmp_path):
    """Asked twice, and where somebody put another file."""
    out = tmp_path / "a.mp4"
    given = {"avatar": str(folder), "out": str(out), "size": SIZE, "frames": 1}
    animate.main(animate.Options(**given))
    animate.main(animate.Options(**given))
    out.write_bytes(b"precious")
    with pytest.raises(Refused, match="a.mp4 is not what this program wrote"):
        animate.main(animate.Options(**given))
    assert out.read_bytes() == b"precious"
    animate.main(animate.Options(**given, overwrite=True))
    (plain,), _ = outputs.video.read(out)
    animate.main(animate.Options(**given, label=True))
    (labelled,), _ = outputs.video.read(out)
    changed = np.abs(labelled.astype(int) - plain).max(-1) > 40
    assert changed[SIZE // 2 :].sum() > 20 and not changed[: SIZE // 2].any()


def test_an_export_replaces_ours_and_nothing_else(folder, tmp_path):
    avatar = avatars.load(folder)
    (tmp_path / "mine.txt").write_text("x")
    paths = api.export(avatar, tmp_path)
    assert all(path.is_file() for path in paths.values()) and api.export(avatar, tmp_path) == paths
    for name in ("triangle", "world", "meta"):
        assert b"synthetic" in paths[name].read_bytes()[:2000]
    paths["world"].write_bytes(b"edited")
    with pytest.raises(Refused, match="avatar_world.ply"):
        api.export(avatar, tmp_path)
    assert paths["world"].read_bytes() == b"edited"
    api.export(avatar, tmp_path, overwrite=True)
    assert len(outputs.ply.load(paths["world"])[0].means) == len(procedural_head().faces)
