"""The matte on drawn persons whose outline is known."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from zero1a_jax.preprocess.matte import background_colour, find_person, matte
from zero1a_jax.preprocess.segment import SEGMENTER_FILES, find_segmenter

SIZE = 128


@pytest.fixture(scope="module")
def person():
    """A head with hair and shoulders: true mask, the bald head's silhouette, colours."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    face = ((x - 64) / 26) ** 2 + ((y - 66) / 36) ** 2 < 1
    neck = (np.abs(x - 64) < 13) & (y > 90) & (y < 120)
    hair = (((x - 64) / 34) ** 2 + ((y - 52) / 36) ** 2 < 1) & (y < 75)
    body = (np.abs(x - 64) < 20 + 1.6 * (y - 106)) & (y > 106)
    colours = np.zeros((SIZE, SIZE, 3))
    for mask, colour in (
        (hair, (0.35, 0.2, 0.1)),
        (body, (0.2, 0.25, 0.6)),
        (neck, (0.7, 0.5, 0.4)),
        (face, (0.8, 0.6, 0.5)),
    ):
        colours[mask] = colour
    return face | neck | hair | body, face | neck, colours


def overlap(alpha, truth):
    return ((alpha > 0.5) & truth).sum() / ((alpha > 0.5) | truth).sum()


@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.1, 0.6, 0.3)])
def test_a_plain_background_is_cut_crisply(person, colour):
    truth, head, colours = person
    rng = np.random.default_rng(0)
    rgb = np.where(truth[..., None], colours, colour) + rng.normal(0, 0.005, (SIZE, SIZE, 3))
    alpha = matte(np.clip(rgb, 0, 1), head)
    assert overlap(alpha, truth) > 0.97
    soft = (alpha > 0.05) & (alpha < 0.95)
    edge = ndimage.binary_dilation(truth, iterations=2) & ~ndimage.binary_erosion(truth, iterations=2)
    assert not (soft & ~edge).any()


def test_a_varied_background_keeps_hair_and_shoulders(person):
    truth, head, colours = person
    rng = np.random.default_rng(1)
    noise = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE, 3)), (9, 9, 0))
    background = np.clip(np.array([0.55, 0.65, 0.6]) + 0.1 * noise / noise.std(), 0, 1)
    rgb = np.where(truth[..., None], colours, background) + rng.normal(0, 0.01, (SIZE, SIZE, 3))
    alpha = matte(np.clip(rgb, 0, 1), head)
    assert overlap(alpha, truth) > 0.9
    assert alpha[head].mean() > 0.98
    assert alpha[:10, :10].max() < 0.05


def test_beyond_the_picture_is_background(person):
    truth, head, colours = person
    rgb = np.where(truth[..., None], colours, 1.0)
    inside = np.ones((SIZE, SIZE), bool)
    inside[-8:] = False
    assert matte(rgb, head, inside)[-8:].max() == 0


def test_an_empty_silhouette_is_refused():
    with pytest.raises(ValueError, match="outside the picture"):
        matte(np.zeros((8, 8, 3)), np.zeros((8, 8), bool))


def test_background_names():
    assert background_colour("keep") is None
    assert np.allclose(background_colour("white"), 1)
    assert np.allclose(background_colour("#ff8000"), [1, 128 / 255, 0])
    for bad in ("blue", "#12", "#gggggg", ""):
        with pytest.raises(ValueError, match="white, black or #rrggbb"):
            background_colour(bad)


def test_a_segmenter_tells_the_person(person):
    """Its soft edges stay, a bystander goes, and where it is blind the colours tell."""
    truth, head, colours = person
    rgb = np.where(truth[..., None], colours, np.random.default_rng(0).uniform(size=(SIZE, SIZE, 3)))
    seen = ndimage.gaussian_filter(truth.astype(np.float32), 1.0)
    seen[2:12, 2:12] = 1.0
    everywhere = np.ones((SIZE, SIZE), bool)
    alpha, notes = find_person(rgb, head, everywhere, lambda picture: seen)
    assert notes == () and overlap(alpha, truth) > 0.97 and alpha[:14, :14].max() == 0
    assert ((alpha > 0.2) & (alpha < 0.8)).any() and alpha.min() >= 0 and alpha.max() <= 1
    alpha, notes = find_person(rgb, head, everywhere, lambda picture: np.zeros((SIZE, SIZE), np.float32))
    assert len(notes) == 1 and "does not see" in notes[0]
    assert np.array_equal(alpha, matte(rgb, head, everywhere))


def test_segmenters_are_found_where_their_model_is(tmp_path, monkeypatch):
    monkeypatch.delenv("ZERO1A_ASSETS", raising=False)
    assert find_segmenter() is None and find_segmenter(tmp_path) is None
    pytest.importorskip("mediapipe")
    (tmp_path / SEGMENTER_FILES[0]).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a MediaPipe segmenter"):
        find_segmenter(tmp_path)


def test_the_real_segmenter():
    segmenter = find_segmenter() if os.environ.get("ZERO1A_ASSETS") else None
    if segmenter is None:
        pytest.skip("needs selfie_segmenter.tflite in ZERO1A_ASSETS")
    folder = Path(__file__).parents[1] / "fixtures" / "preprocess"
    found = segmenter(np.asarray(Image.open(folder / "two_faces.jpg")))
    with np.load(folder / "two_faces.npz") as stored:
        columns, rows = np.round(stored["points"][:105].T).astype(int)
    assert found.shape == Image.open(folder / "two_faces.jpg").size[::-1] and found.dtype == np.float32
    assert found[rows, columns].mean() > 0.8 and found[:5].mean() < 0.2
