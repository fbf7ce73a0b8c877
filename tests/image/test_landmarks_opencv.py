"""Landmark images against pictures that OpenCV drew from the same points, stored beside this file.

As a program it writes points and pictures anew: python tests/image/test_landmarks_opencv.py (needs cv2).
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zero1a_jax.image import landmarks

FOLDER = Path(__file__).parent / "opencv"
CASES = ("frontal", "turned", "mouth_open", "outside")
SIZES = (512, 256, 64)


def opencv(unit: np.ndarray, name: str) -> dict[int, np.ndarray]:
    """uint8 pictures by size: the models' canvas of 512 pixels, and its reductions."""
    cv2 = pytest.importorskip("cv2")
    style = landmarks.STYLES[name]
    canvas = np.zeros((512, 512, 3), np.uint8)
    cells = np.minimum(np.floor(unit * 512), 511).astype(int)
    inside = ((unit >= 0) & (unit <= 1)).all(-1)
    for (a, b), group in zip(*landmarks.edges_of(style), strict=True):
        if inside[a] and inside[b]:
            colour = style.groups[group - 1][0]
            cv2.line(canvas, cells[a].tolist(), cells[b].tolist(), colour, style.thickness)
    for index in style.dots:
        x, y = cells[style.ids.index(index)]
        if inside[style.ids.index(index)]:
            canvas[max(y - 3, 0) : y + 3, max(x - 3, 0) : x + 3] = style.dot_colour
    return {
        512: canvas,
        256: cv2.resize(canvas, (256, 256), interpolation=cv2.INTER_LINEAR),
        64: cv2.resize(canvas, (64, 64), interpolation=cv2.INTER_AREA),
    }


@pytest.fixture(scope="module")
def stored():
    """Points in 0..1 by case, and the pictures by (case, style, size)."""
    with np.load(FOLDER / "points.npz") as arrays:
        points = dict(arrays)
    pictures = {}
    for case in CASES:
        for name in landmarks.STYLES:
            sheet, x = np.asarray(Image.open(FOLDER / f"{case}_{name}.png")), 0
            for size in SIZES:
                pictures[case, name, size] = sheet[:size, x : x + size]
                x += size
    return points, pictures


def rims(image: np.ndarray) -> np.ndarray:
    """Pixels whose 3 x 3 neighbourhood is not of one colour: the lines' edge pixels, from both sides."""
    padded = np.pad(image.astype(int), ((1, 1), (1, 1), (0, 0)), mode="edge")
    around = np.stack([padded[i : i + len(image), j : j + len(image)] for i in range(3) for j in range(3)])
    return (around != around[4]).any((0, 3))


@pytest.mark.parametrize("name", landmarks.STYLES)
def test_the_same_picture_but_for_edge_pixels(stored, name):
    points, pictures = stored
    unit = np.stack([points[case][: len(landmarks.STYLES[name].ids)] for case in CASES])
    for size in SIZES:
        drawn = np.asarray(landmarks.draw(unit * np.float32(size), size, size, style=name)) * 255
        for image, case in zip(drawn, CASES, strict=True):
            wanted = pictures[case, name, size]
            different = (np.abs(image - wanted) > 0.51).any(-1)
            assert not (different & ~rims(wanted)).any(), (case, size)
            seen = (wanted > 0).any(-1).sum()
            assert seen > size / 4
            if name == "emoji":
                assert not different.any(), (case, size)
            elif size > 64:  # a pixel of the canvas changes a pixel of any size
                assert different.sum() <= (0.01 if size == 512 else 0.02) * seen, (case, size)


def test_the_stored_pictures_are_opencvs(stored):
    points, pictures = stored
    for case in CASES:
        for name, style in landmarks.STYLES.items():
            for size, image in opencv(points[case][: len(style.ids)], name).items():
                np.testing.assert_array_equal(image, pictures[case, name, size])


def test_a_style_says_what_it_needs():
    with pytest.raises(ValueError, match=r"\[\*B, 121, 2\]"):
        landmarks.draw(np.zeros((119, 2)), 64, 64, style="emoji")
    with pytest.raises(ValueError, match="aniportrait, emoji"):
        landmarks.draw(np.zeros((119, 2)), 64, 64, style="openpose")


def write() -> None:
    """Points of the embedded head, and OpenCV's pictures of them."""
    import jax.numpy as jnp

    from zero1a_jax import flame, symgen
    from zero1a_jax.geometry import portrait_camera

    model = flame.procedural_head()
    still = flame.zero_params(model)
    opened = still.replace(jaw=jnp.array([0.35, 0.0, 0.0]))
    target = flame.frame_target(model, still.shape)
    points = {}
    for case, params, yaw in zip(CASES, (still, still, opened, still), (0.0, 0.8, -0.2, 0.3), strict=True):
        camera = portrait_camera(target, yaw, 0.0, 512)
        found = symgen.condition_points(model, params, camera, size=512, kind="emoji")
        shift = np.array([-190, 90]) if case == "outside" else np.zeros(2)
        points[case] = np.asarray((np.asarray(found) + shift) / 512, np.float32)
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / "points.npz", **points)
    for case in CASES:
        for name, style in landmarks.STYLES.items():
            sheet, x = np.zeros((512, sum(SIZES), 3), np.uint8), 0
            for size, image in opencv(points[case][: len(style.ids)], name).items():
                sheet[:size, x : x + size] = image
                x += size
            Image.fromarray(sheet).save(FOLDER / f"{case}_{name}.png", optimize=True)


if __name__ == "__main__":
    write()
