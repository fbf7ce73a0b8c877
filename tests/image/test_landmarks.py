"""The landmark image against OpenCV's lines, drawn by OpenCV where it is installed."""

import jax
import numpy as np
import pytest

from zero1a_jax.image import landmarks
from zero1a_jax.image.landmarks import DRAWN_MEDIAPIPE, EDGE_COLOURS, EDGES, OUTLINE, draw


def face(rng, count, size):
    """Points like a face's: the outline on an ellipse, features within."""
    turn = np.linspace(-2.6, 2.6, len(OUTLINE)) + np.pi / 2
    outline = 0.5 + 0.35 * np.stack([-np.cos(turn), np.sin(turn)], -1)
    features = rng.uniform(0.3, 0.7, (count, len(DRAWN_MEDIAPIPE) - len(OUTLINE), 2))
    outline = outline + rng.uniform(-0.01, 0.01, (count, *outline.shape))
    return (np.concatenate([features, outline], 1) * size).astype(np.float32)


def opencv(points):
    cv2 = pytest.importorskip("cv2")
    image = np.zeros((512, 512, 3), np.uint8)
    for (a, b), colour in zip(EDGES, EDGE_COLOURS, strict=True):
        ends = np.stack([points[a], points[b]]) / 512
        if (ends < 0).any() or (ends > 1).any():
            continue
        start, end = np.minimum(np.floor(ends * 512), 511).astype(int).tolist()
        cv2.line(image, start, end, colour.tolist(), 2)
    return image / 255.0


def test_counts_and_order():
    assert len(DRAWN_MEDIAPIPE) == 119 and len(set(DRAWN_MEDIAPIPE)) == 119
    assert EDGES.shape == (114, 2)
    assert DRAWN_MEDIAPIPE[-27:] == OUTLINE and OUTLINE[13] == 152
    assert EDGES.min() == 0 and EDGES.max() == 118


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_matches_opencv(spread):
    rng = np.random.default_rng(0)
    points = face(rng, 2, 512)
    points = points + spread * rng.uniform(-250, 250, points.shape).astype(np.float32)
    for drawn, points_ in zip(np.asarray(draw(points, 512, 512)), points, strict=True):
        wanted = opencv(points_)
        different = (np.abs(drawn - wanted) > 0.002).any(-1).sum()
        assert different <= 0.01 * (wanted > 0).any(-1).sum()


def test_later_lines_cover_earlier_ones():
    points = np.full((119, 2), -1.0, np.float32)
    first, last = 0, len(EDGES) - 1
    points[EDGES[first]] = [[100, 200], [300, 200]]
    points[EDGES[last]] = [[200, 100], [200, 300]]
    image = np.asarray(draw(points, 512, 512))
    assert np.allclose(image[200, 200], EDGE_COLOURS[last] / 255.0)
    assert np.allclose(image[200, 120], EDGE_COLOURS[first] / 255.0)
    assert (image[150, 120] == 0).all()


def test_a_point_outside_or_not_finite_drops_its_lines():
    points = np.full((119, 2), np.nan, np.float32)
    a, b = EDGES[0]
    points[a], points[b] = (10, 10), (100, 10)
    assert np.asarray(draw(points, 512, 512)).any()
    for bad in (-0.01, 512.5, np.inf):
        points[b] = (bad, 10)
        assert not np.asarray(draw(points, 512, 512)).any()
    points[b] = (512, 512)  # the far border itself counts as inside
    assert np.asarray(draw(points, 512, 512)).any()


def test_smaller_sizes_are_the_canvas_averaged():
    rng = np.random.default_rng(1)
    points = face(rng, 2, 512)
    full = np.asarray(draw(points, 512, 512))
    for size in (256, 128):
        k = 512 // size
        wanted = full.reshape(2, size, k, size, k, 3).mean((2, 4))
        drawn = np.asarray(draw(points * size / 512, size, size))
        assert np.abs(drawn - wanted).max() < 1e-5
    assert draw(points * 96 / 512, 96, 192).shape == (2, 96, 192, 3)


def test_batches_trace_and_long_lines_agree():
    """Many long lines need more than one chunk; leading axes and tracing change nothing."""
    rng = np.random.default_rng(2)
    points = rng.uniform(0, 256, (2, 2, 119, 2)).astype(np.float32)
    together = np.asarray(draw(points, 256, 256))
    assert together.shape == (2, 2, 256, 256, 3)
    assert together.min() >= 0 and together.max() <= 1
    alone = np.asarray(draw(points[1, 0], 256, 256))
    assert (alone == together[1, 0]).all()
    mapped = jax.jit(jax.vmap(lambda p: draw(p, 256, 256)))(points[0])
    assert (np.asarray(mapped) == together[0]).all()


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="119"):
        landmarks.draw(np.zeros((105, 2)), 64, 64)
