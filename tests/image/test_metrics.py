"""Sharpness and alignment on pictures whose answer is known."""

import numpy as np
import pytest
import scipy.ndimage

from zero1a_jax.image.metrics import aligned, grain, sharpness

SIDE = 64


@pytest.fixture(scope="module")
def truth():
    """Smooth noise with some fine detail, and a disc that counts."""
    noise = np.random.default_rng(0).normal(size=(SIDE, SIDE, 3))
    picture = scipy.ndimage.gaussian_filter(noise, (2, 2, 0)) + 0.1 * scipy.ndimage.gaussian_filter(
        noise, (0.7, 0.7, 0)
    )
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return 0.5 + 0.5 * picture, x**2 + y**2 < (0.35 * SIDE) ** 2


def test_sharpness(truth):
    picture, mask = truth
    assert sharpness(picture, picture, mask) == 1.0
    blurred = scipy.ndimage.gaussian_filter(picture, (1.5, 1.5, 0))
    grainy = picture + 0.1 * np.random.default_rng(1).normal(size=picture.shape)
    assert sharpness(blurred, picture, mask) < 0.5 < 1.5 < sharpness(grainy, picture, mask)
    outside = np.where(mask[..., None], picture, 7.0)
    assert sharpness(outside, picture, mask) == pytest.approx(1.0, abs=0.05)  # the rim does not count


def test_grain_is_what_a_flat_background_shows(truth):
    picture, mask = truth
    flat = np.where(mask[..., None], picture, 1.0)
    noisy = flat + 0.05 * np.random.default_rng(2).normal(size=picture.shape)
    assert grain(flat, ~mask) < 1e-4  # the disc's blur hardly reaches over its rim
    assert 0.03 < grain(noisy, ~mask) < 0.05  # the slow part of noise is no grain


def test_a_shifted_and_turned_picture_comes_back(truth):
    picture, mask = truth
    moved = scipy.ndimage.rotate(
        np.roll(picture, (2, -3), (0, 1)), 3.0, (1, 0), reshape=False, mode="nearest"
    )
    before = np.mean((moved - picture)[mask] ** 2)
    after = np.mean((aligned(moved, picture, mask) - picture)[mask] ** 2)
    assert after < 0.1 * before
    np.testing.assert_allclose(aligned(picture, picture, mask)[mask], picture[mask], atol=2e-2)
