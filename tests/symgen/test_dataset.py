"""The cache: pure, frozen where it must be, and strict about what it takes in."""

import jax
import numpy as np
import pytest

from zero1a_jax import symgen
from zero1a_jax.symgen.dataset import draw_batch, empty, gather, replace
from zero1a_jax.training.dataset_update import choose


@pytest.fixture(scope="module")
def made(fakes):
    portrait = fakes.disc_portrait(fakes.sphere_head())

    def tiled(leaf):
        return np.broadcast_to(np.asarray(leaf, np.float32), (8, 3, *np.shape(leaf)))

    cameras, flame = jax.tree.map(tiled, (portrait.camera, portrait.flame))
    samples = symgen.Samples(cameras, flame, symgen.stages(fakes.small_config().curriculum))
    return portrait, samples, empty(samples, portrait)


def frames_of(dataset, value):
    rgb = np.full(dataset.rgb.shape[1:], value, np.float32)
    cameras, flame = jax.tree.map(lambda x: x[1] + 1, (dataset.cameras, dataset.flame))
    return rgb, rgb[..., 0], cameras, flame


def test_starts_with_the_portrait_alone(made):
    portrait, _, dataset = made
    assert dataset.rgb.dtype == np.uint8 and dataset.rgb.shape == (8, 3, 32, 32, 3)
    assert dataset.frozen.tolist() == [True] + [False] * 7
    assert dataset.round.tolist() == [1] + [0] * 7
    np.testing.assert_allclose(dataset.rgb[0, 2] / 255.0, portrait.rgb, atol=0.5 / 255)


def test_replace_is_pure(made):
    _, _, dataset = made
    before = jax.tree.map(np.array, dataset)
    new = replace(dataset, 2, *frames_of(dataset, 0.2))
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(dataset), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (new.rgb[2] == 51).all() and (new.alpha[2] == 51).all()
    assert new.round.tolist() == [1, 0, 1, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(new.cameras.focal[2], dataset.cameras.focal[1] + 1)
    np.testing.assert_array_equal(new.flame.jaw[2], dataset.flame.jaw[1] + 1)
    assert (new.rgb[1] == 0).all()


def test_quarantine_keeps_the_old_frames(made):
    _, _, dataset = made
    old = replace(dataset, 2, *frames_of(dataset, 0.2))
    new = replace(old, 2, *frames_of(dataset, 0.9), reason=symgen.BLANK)
    assert (new.rgb[2] == 51).all() and new.round[2] == 1
    assert new.reject_reason.tolist() == [0, 0, symgen.BLANK, 0, 0, 0, 0, 0]
    healed = replace(new, 2, *frames_of(dataset, 0.4))
    assert healed.reject_reason[2] == symgen.ACCEPTED and (healed.rgb[2] == 102).all()


def test_refuses(made):
    _, _, dataset = made
    with pytest.raises(ValueError, match="never overwritten"):
        replace(dataset, 0, *frames_of(dataset, 0.2))
    with pytest.raises(ValueError, match="unknown reject reason 9"):
        replace(dataset, 1, *frames_of(dataset, 0.2), reason=9)


def test_choose_takes_the_least_refreshed_active_ones(made):
    _, _, dataset = made
    dataset = dataset.replace(round=np.array([1, 3, 0, 2, 0, 0, 1, 0]))
    active = np.array([True, True, True, True, True, False, True, False])
    chosen = choose(dataset, active, 3, np.random.default_rng(0))
    assert set(chosen[:2]) == {2, 4} and chosen[2] == 6
    assert len(choose(dataset, active, 99, np.random.default_rng(0))) == 5
    orders = {tuple(choose(dataset, active, 2, np.random.default_rng(s))) for s in range(20)}
    assert orders == {(2, 4), (4, 2)}


def test_draw_shares(made):
    _, _, dataset = made
    dataset = dataset.replace(round=np.array([1, 3, 0, 2, 0, 0, 1, 0]))
    active = np.array([True, True, True, True, False, True, False, False])
    slots, frames = draw_batch(dataset, active, 4000, np.random.default_rng(0), portrait_share=0.2)
    share = {slot: (slots == slot).mean() for slot in set(slots)}
    assert set(share) == {0, 1, 3}  # 2 is empty, 6 is not active
    assert abs(share[0] - 0.2) < 0.03 and abs(share[1] - share[3]) < 0.05
    assert set(frames) == {0, 1, 2}
    only = draw_batch(dataset, active & False, 10, np.random.default_rng(0), portrait_share=0.0)[0]
    assert (only == 0).all()


def test_gather_is_a_pair_each(made):
    _, _, dataset = made
    slots, frames = np.array([0, 3, 3]), np.array([1, 0, 2])
    rgb, alpha, cameras, flame = gather(dataset, slots, frames)
    assert rgb.shape == (3, 32, 32, 3) and alpha.shape == (3, 32, 32)
    np.testing.assert_array_equal(cameras.world_to_camera[2], dataset.cameras.world_to_camera[3, 2])
    np.testing.assert_array_equal(flame.expression[1], dataset.flame.expression[3, 0])
