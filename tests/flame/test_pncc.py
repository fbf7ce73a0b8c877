import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.flame import forward, frame_target, zero_params
from zero1a_jax.flame.pncc import pncc
from zero1a_jax.flame.procedural import procedural_head
from zero1a_jax.geometry import portrait_camera, project

SIZE = 96


@pytest.fixture(scope="module")
def pictures():
    """A turned, open-mouthed head and a resting one, as a batch of two: pixels, vertices, cameras."""
    model = procedural_head()
    params = zero_params(model, (2,))
    params = params.replace(jaw=params.jaw.at[0, 0].set(0.3), rotation=params.rotation.at[0, 1].set(0.2))
    vertices, _ = forward(model, params)
    camera = portrait_camera(frame_target(model, params.shape), jnp.array([0.3, 0.0]), 0.0, SIZE)
    return jax.jit(lambda v: pncc(model, v, camera))(vertices), vertices, camera


def test_colour_is_the_template_position(pictures):
    model = procedural_head()
    image, vertices, camera = (np.asarray(x) if not hasattr(x, "focal") else x for x in pictures)
    low, high = model.template.min(0), model.template.max(0)
    assert image.shape == (2, SIZE, SIZE, 3) and image.min() >= 0 and image.max() <= 1
    pixels, depth = (np.asarray(x) for x in project(camera, vertices))
    for k in range(2):
        # the foremost vertices are visible: the picture there shows where they rest on the template
        front = np.argsort(depth[k])[:40]
        x, y = np.floor(pixels[k, front]).astype(int).T
        want = (model.template[front] - low) / (high - low)
        assert np.abs(image[k, y, x] - want).max() < 0.06


def test_background_is_black_and_eyes_are_drawn(pictures):
    model = procedural_head()
    image, _, camera = pictures
    assert (np.asarray(image)[:, :8, :8] == 0).all()
    joints = forward(model, zero_params(model))[1]
    pixels, _ = project(jax.tree.map(lambda x: x[1], camera), joints[3:])
    low, high = model.template.min(0), model.template.max(0)
    for (x, y), joint in zip(np.floor(np.asarray(pixels)).astype(int), np.asarray(joints[3:]), strict=True):
        shown = np.asarray(image)[1, y, x] * (high - low) + low
        assert np.abs(shown - joint - [0, 0, 0.0122])[[0, 1]].max() < 0.004
        assert joint[2] + 0.008 < shown[2] < joint[2] + 0.017  # an eyeball's front, not its socket


def test_broadcasts_one_head_over_many_cameras():
    model = procedural_head()
    vertices, _ = forward(model, zero_params(model))
    cameras = portrait_camera(frame_target(model, jnp.zeros(1)), jnp.array([-0.5, 0.5]), 0.0, 32)
    image = np.asarray(jax.jit(lambda v: pncc(model, v, cameras))(vertices))
    assert image.shape == (2, 32, 32, 3)
    # the head is symmetric: the two views mirror each other, and with them the code's x
    mirrored = image[1, :, ::-1] * [-1, 1, 1] + (image[1, :, ::-1].any(-1, keepdims=True)) * [1, 0, 0]
    assert np.median(np.abs(image[0] - mirrored)[image[0].any(-1)]) < 0.02
