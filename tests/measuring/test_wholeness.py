"""Holes are found where there are some, and what is still is told from what flickers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.flame import procedural_head
from zero1a_jax.measuring import evaluation, wholeness
from zero1a_jax.showing import poses
from zero1a_jax.sources import avatars

SIZE = 32


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, exported):
    """A grey head."""
    model = procedural_head()
    shape = np.zeros(np.shape(model.shape_basis)[2])
    return avatars.load(exported(tmp_path_factory.mktemp("run"), shape, np.zeros((len(model.faces), 1, 3))))


def with_alpha(monkeypatch, hole):
    """Makes every render opaque but for the pixels `hole` of frame 3."""
    count = len(poses.SHOWN) * len(poses.SHEET_YAWS)

    def render(avatar, model, flame, cameras, *, background, blur):
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
    assert "worst view (neutral, 30)" in wholeness.text(found)
    assert "flicker 1.50 times" in wholeness.text(found | {"flicker": 1.5})


def waves(camera, params):
    """A flat picture whose grey depends on view and expression."""
    value = 0.5 + 0.5 * jnp.sin(20.0 * camera.world_to_camera[0, 2] + 9.0 * jnp.sum(params.expression))
    return jnp.full((SIZE, SIZE, 3), value), jnp.ones((SIZE, SIZE))


@pytest.fixture
def contrasted(loaded, monkeypatch):
    """Makes truth and avatar show `waves`, the avatar with a contrast."""
    monkeypatch.setattr(wholeness, "person", lambda seed: (jnp.asarray(loaded.avatar.shape), None))
    monkeypatch.setattr(evaluation, "person", lambda seed: (jnp.asarray(loaded.avatar.shape), None))
    monkeypatch.setattr(wholeness, "FADE", 2)
    monkeypatch.setattr(
        evaluation.synthetic,
        "render",
        lambda model, look, params, camera, *, supersample: waves(camera, params),
    )

    def at(contrast):
        def render(avatar, model, flame, cameras, *, background, blur=0.0):
            for k in range(len(flame.jaw)):
                pose, camera = jax.tree.map(lambda x, k=k: jnp.asarray(x)[k], (flame, cameras))
                rgb, alpha = waves(camera, pose)
                yield contrast * np.asarray(rgb), np.asarray(alpha)

        for module in (wholeness.playback, evaluation.playback):
            monkeypatch.setattr(module, "render", render)

    for kept in (wholeness._true_unrest, wholeness._true_spread):
        kept.cache_clear()
    yield at
    for kept in (wholeness._true_unrest, wholeness._true_spread):
        kept.cache_clear()


@pytest.mark.parametrize("contrast", [1.0, 0.5])
def test_flicker_is_over_the_truths(loaded, contrasted, contrast):
    """An avatar that shows what the truth shows is as restless, and one of half the contrast half."""
    contrasted(contrast)
    np.testing.assert_allclose(wholeness.flicker(loaded, 7, size=SIZE), contrast, rtol=1e-3)


@pytest.mark.parametrize("contrast", [1.0, 0.5])
def test_inconsistency_is_over_the_truths(loaded, contrasted, contrast):
    contrasted(contrast)
    found = wholeness.inconsistency(evaluation.of_avatar(loaded), 7, pairs=4, size=SIZE)
    np.testing.assert_allclose(found, contrast, rtol=1e-3)
