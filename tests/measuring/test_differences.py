"""The figures of a row: against scikit-image, and on pictures whose answer is known."""

import numpy as np
import pytest

from zero1a_jax.measuring import differences as measured
from zero1a_jax.measuring.differences import PICTURE_METRICS, differences


def opaque(image, truth, **more):
    whole = np.ones(truth.shape[:2])
    return differences(image, whole, truth, whole, 0, **more)


def test_agrees_with_scikit_image(clip_folder):
    """scikit-image 0.26, float64: Gaussian windows of sigma 1.5, without sample covariance, data range 1."""
    truth = clip_folder.picture(3)
    noise = 0.1 * np.random.RandomState(5).standard_normal(truth.shape)
    found = opaque(np.clip(truth + noise, 0, 1), truth)
    assert found["psnr_frame"] == pytest.approx(20.427801054409613, abs=1e-4)
    assert found["ssim_frame"] == pytest.approx(0.6917061992632533, abs=1e-5)
    assert found["psnr"] == found["psnr_frame"] and found["ssim"] == found["ssim_frame"]  # all is the mask
    found = opaque(clip_folder.picture(4, 33, 37), clip_folder.picture(3, 33, 37))
    assert found["psnr_frame"] == pytest.approx(7.532823108597321, abs=1e-4)
    assert found["ssim_frame"] == pytest.approx(0.0580465579779475, abs=1e-5)


@pytest.fixture
def disc(clip_folder):
    """A picture over white that is opaque in its middle, and its opacity."""
    y, x = np.mgrid[:40, :48]
    alpha = ((y - 20) ** 2 + (x - 24) ** 2 < 14**2).astype(float)
    return clip_folder.picture(1) * alpha[..., None] + 1 - alpha[..., None], alpha


def test_a_perfect_picture(disc):
    picture, alpha = disc
    found = differences(picture, alpha, picture, alpha, 3)
    assert set(found) == set(PICTURE_METRICS)
    assert all(found[name] == 100 for name in found if name.startswith("psnr") and name != "psnr_aligned")
    assert found["sharpness"] == 1 and found["ssim_colour"] == pytest.approx(1, abs=1e-5)


def test_white_and_transparent_are_told_apart_by_the_random_colour(disc):
    """Over white a picture that lacks its opacity is perfect; before a colour its background is wrong."""
    picture, alpha = disc
    found = differences(picture, np.ones_like(alpha), picture, alpha, 3)
    behind = np.mean((1 - measured.colour(3)) ** 2) * np.mean(alpha == 0)
    assert found["psnr_frame"] == 100
    assert found["psnr_colour"] == pytest.approx(-10 * np.log10(behind), abs=1e-3)
    assert not np.allclose(measured.colour(3), measured.colour(4))
    found = differences(picture, None, picture, alpha, 3)  # frames have no opacity
    assert found["psnr_colour"] is None and found["ssim_colour"] is None


def test_the_mask_and_the_frame(disc):
    picture, alpha = disc
    dirty = np.where(alpha[..., None] > 0, picture, 0.9)
    found = differences(dirty, alpha, picture, alpha, 0)
    assert found["psnr"] == 100 and found["psnr_frame"] < 25


def test_judges_see_pictures_and_mask(disc):
    picture, alpha = disc

    def judge(image, truth, mask):
        return {"own": float(np.abs(image - truth)[mask].max()), "none": None}

    found = opaque(picture, picture, judges=[judge])
    assert found["own"] == 0 and found["none"] is None
