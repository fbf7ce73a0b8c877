"""How MediaPipe sees the embedded head. Slow, and only where its model lies under ZERO1A_ASSETS."""

import os
from pathlib import Path

import numpy as np
import pytest

from zero1a_jax.flame import frame_target, procedural_head
from zero1a_jax.geometry.cameras import portrait_camera, project
from zero1a_jax.geometry.zbuffer import zbuffer

SIZE = 384
pytestmark = pytest.mark.slow


def colours(head):
    """Plain vertex colours [V, 3]: skin, lips, eyes, teeth and brows."""
    c = np.tile([0.93, 0.80, 0.71], (len(head.template), 1))
    for name, colour in (
        ("lips", (0.84, 0.62, 0.60)),
        ("mouth_interior", (0.58, 0.29, 0.29)),
        ("sclera", (0.96, 0.95, 0.94)),
        ("iris", (0.45, 0.53, 0.59)),
        ("pupil", (0.1, 0.1, 0.1)),
        ("teeth", (0.96, 0.94, 0.90)),
    ):
        c[head.masks[name]] = colour
    x, y, z = np.abs(head.template[:, 0]), head.template[:, 1], head.template[:, 2]
    arch = (y - 0.0512 + 9 * (x - 0.03) ** 2 - 0.08 * (x - 0.03)) / 0.0036
    brow = 0.75 * np.exp(-(((x - 0.030) / 0.0165) ** 4) - arch**2) * (z > 0.03)
    return c * (1 - brow[:, None]) + np.array([0.38, 0.31, 0.25]) * brow[:, None]


@pytest.fixture(scope="module")
def see():
    """A function of vertices and yaw: the mesh's own 105 points, MediaPipe's [478, 2] or None, its scores."""
    model = Path(os.environ.get("ZERO1A_ASSETS", "")) / "face_landmarker.task"
    mediapipe = pytest.importorskip("mediapipe")
    if not model.is_file():
        pytest.skip("set ZERO1A_ASSETS to a folder with face_landmarker.task")
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)), output_face_blendshapes=True
    )
    detector = vision.FaceLandmarker.create_from_options(options)
    head = procedural_head()
    paint, faces = colours(head), head.faces
    target = frame_target(head, np.zeros(head.shape_basis.shape[-1], np.float32))

    def look(vertices, yaw=0.0):
        camera = portrait_camera(target, yaw, 0.0, SIZE)
        pixels, depth = project(camera, vertices.astype(np.float32))
        ids, bary, _ = (np.asarray(a) for a in zbuffer(pixels, depth, faces, SIZE, SIZE))
        a, b, c = (vertices[faces[:, i]] for i in range(3))
        normal = np.zeros_like(vertices)
        for i in range(3):
            np.add.at(normal, faces[:, i], np.cross(b - a, c - a))
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        light = 0.45 + 0.5 * np.clip(normal @ np.array([0.44, 0.54, 0.72]), 0, 1)
        shaded = (paint * light[:, None])[faces[ids]]
        image = np.where((ids >= 0)[..., None], (bary[..., None] * shaded).sum(-2), 0.4)
        image = np.ascontiguousarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
        result = detector.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
        own = np.asarray(pixels)[faces[head.mediapipe_faces]]
        own = (own * head.mediapipe_barycentrics[..., None]).sum(1)
        if not result.face_landmarks:
            return own, None, {}
        seen = np.array([[p.x * SIZE, p.y * SIZE] for p in result.face_landmarks[0]])
        return own, seen, {c.category_name: c.score for c in result.face_blendshapes[0]}

    yield look
    detector.close()


@pytest.mark.parametrize("name", ["jawOpen", "mouthPucker", "mouthSmile", "eyeBlink"])
def test_mediapipe_names_the_expression(see, name):
    head = procedural_head()
    on = np.array([n.startswith(name) for n in head.expression_names], np.float32)
    _, seen, scores = see(head.template + head.expression_basis @ on)
    assert seen is not None
    top = sorted(scores, key=scores.get)[-3:]
    assert any(n.startswith(name) for n in top), top


def test_mediapipe_finds_the_landmarks_where_they_are(see):
    head = procedural_head()
    rng = np.random.default_rng(1)
    errors, found = [], []
    for i in range(8):
        v = head.template + head.shape_basis @ rng.normal(size=head.shape_basis.shape[-1])
        yaw = np.deg2rad([0, -30, 30, 15][i % 4])
        own, seen, _ = see(v, yaw)
        found.append(seen is not None)
        if seen is not None:
            between = 2 * np.abs(v[head.masks["left_eyeball"], 0].mean())
            scale = SIZE / (2 * np.tan(np.deg2rad(10)))  # pixels a metre at the framing's distance of 1 m
            distance = np.linalg.norm(seen[head.mediapipe_indices] - own, axis=1)
            errors.append(distance / (between * scale))
    print(f"found {np.mean(found):.2f}, median error {np.median(errors):.4f} of the inter-ocular distance")
    assert np.mean(found) >= 0.95
    assert np.median(errors) < 0.04
