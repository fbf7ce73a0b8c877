"""Holes are found where there are some, and what is still is told from what flickers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.flame import procedural_head
from zero1a_jax.showing import poses, wholeness
from zero1a_jax.sources import avatars


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, exported):
    """A grey head."""
    model = procedural_head()
    shape = np.zeros(np.shape(model.shape_basis)[2])
    return avatars.load(exported(tmp_path_factory.mktemp("run"), shape, np.zeros((len(model.faces), 1, 3))))


def with_alpha(monkeypatch, hole):
    """Makes every render opaque but for the pixels `hole` of frame 3."""
    count = len(poses.SHOWN) * len(poses.SHEET_YAWS)

    def render(avatar, model, flame, cameras, *, background):
        for k in range(count):
            alpha = np.ones((cameras.height, cameras.width), np.float32)
            alpha[hole] = 0.9 if k == 3 else 1.0
            yield np.ones((*alpha.shape, 3), np.float32), alpha

    monkeypatch.setattr(wholeness.playback, "render", render)


def test_a_hole_counts_in_the_silhouette_alone(loaded, monkeypatch):
    with_alpha(monkeypatch, np.s_[:2, :])  # above the head
    found = wholeness.holes(loaded, size=32)
    assert found["covered"] == found["covered_least"] == 1.0
    with_alpha(monkeypatch, np.s_[14:18, 14:18])
    found = wholeness.holes(loaded, size=32)
    assert found["covered_where"] == "neutral, 30"
    assert 0.9 < found["covered_least"] < found["covered"] < 1.0
    assert "worst view (neutral, 30)" in wholeness.text(found, 1.0)


def test_what_flickers_is_restless():
    draw = np.random.default_rng(0)
    still = np.tile(draw.random((1, 8, 8, 3)), (6, 1, 1, 1))
    cover = np.ones((6, 8, 8), bool)
    assert wholeness.restless(still, cover) == 0.0
    rising = still + np.arange(6)[:, None, None, None]
    assert wholeness.restless(rising, cover) < 1e-6  # even change is no flicker
    flickering = still + 0.1 * (-1.0) ** np.arange(6)[:, None, None, None]
    np.testing.assert_allclose(wholeness.restless(flickering, cover), 0.2, rtol=1e-6)
    beside = cover.copy()
    beside[:, :4] = False
    still[3, :4] += 1.0
    assert wholeness.restless(still, beside) == 0.0


def test_the_truth_is_as_still_as_itself(loaded, monkeypatch):
    """An avatar that shows what the truth shows flickers as much, and one of half the contrast half."""
    shape = jnp.asarray(loaded.avatar.shape)
    monkeypatch.setattr(wholeness, "person", lambda seed: (shape, None))
    monkeypatch.setattr(wholeness, "FADE", 2)

    def truth(model, look, params, camera, *, supersample):
        value = 0.5 + 0.5 * jnp.sin(20.0 * camera.world_to_camera[0, 2] + 9.0 * jnp.sum(params.expression))
        return jnp.full((16, 16, 3), value), jnp.ones((16, 16))

    monkeypatch.setattr(wholeness.synthetic, "render", truth)
    for contrast in (1.0, 0.5):

        def render(avatar, model, flame, cameras, *, background, contrast=contrast):
            for k in range(len(flame.jaw)):
                flame_k, camera = jax.tree.map(lambda x, k=k: jnp.asarray(x)[k], (flame, cameras))
                rgb, alpha = truth(model, None, flame_k, camera, supersample=1)
                yield contrast * np.asarray(rgb), np.asarray(alpha)

        monkeypatch.setattr(wholeness.playback, "render", render)
        np.testing.assert_allclose(wholeness.flicker(loaded, 7, size=16), contrast, rtol=1e-3)
