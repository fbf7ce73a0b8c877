"""A surface's colours: read where the mesh is, seen where it faces the camera, and what changes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera, project
from zero1a_jax.measuring import surface

SIZE = 96


@pytest.fixture(scope="module")
def model():
    return procedural_head()


def front(model, yaw):
    target = frame_target(model, jnp.zeros(np.shape(model.shape_basis)[2]))
    cameras = portrait_camera(target, jnp.radians(jnp.array([yaw])), jnp.zeros(1), SIZE)
    return jax.tree.map(lambda x: x[0], cameras)


def test_colours_are_those_at_the_faces(model):
    """A picture that is linear in its pixels is read exactly; faces that look away are not seen."""
    flame = zero_params(model)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    picture = jnp.asarray(np.stack([x, y, x + y], -1) / (2 * SIZE), jnp.float32)
    vertices, _ = forward(model, flame)
    middle = np.asarray(vertices)[np.asarray(model.faces)].mean(1)
    nose, back = middle[:, 2].argmax(), middle[:, 2].argmin()
    for yaw, seen_side, hidden_side in ((0.0, nose, back), (170.0, back, nose)):
        camera = front(model, yaw)
        found, seen = surface.colours(model, flame, camera, picture)
        places = np.asarray(project(camera, jnp.asarray(middle))[0]) / (2 * SIZE)
        wanted = np.stack([places[:, 0], places[:, 1], places.sum(1)], -1)
        seen = np.asarray(seen)
        np.testing.assert_allclose(np.asarray(found)[seen], wanted[seen], atol=1e-4)
        assert 0.05 < seen.mean() < 0.7 and not seen[hidden_side]
        assert seen[seen_side] or yaw > 0  # the back of a head is wide, its last face may be at the neck


def test_spread_is_over_pictures_that_see_a_face():
    found, seen = np.zeros((3, 4, 3)), np.zeros((3, 4), bool)
    assert np.isnan(surface.spread(found, seen))
    found[:, 0] = np.array([0.2, 0.4, 9.0])[:, None]  # the third picture does not see it
    seen[:2, 0] = True
    seen[0, 1] = True  # of one picture alone: nothing to compare with
    found[0, 1] = 5.0
    assert surface.spread(found, seen) == pytest.approx(0.1)
    seen[:, 2] = True  # a face that does not change
    assert surface.spread(found, seen) == pytest.approx(np.sqrt(2 * 0.01 / 5))


def test_unrest_is_what_comes_and_goes():
    still = np.tile(np.random.default_rng(0).random((1, 8, 3)), (6, 1, 1))
    seen = np.ones((6, 8), bool)
    assert surface.unrest(still, seen) == 0
    assert surface.unrest(still + np.arange(6)[:, None, None], seen) < 1e-6  # even change is no flicker
    flickering = still + 0.1 * (-1.0) ** np.arange(6)[:, None, None]
    assert surface.unrest(flickering, seen) == pytest.approx(0.2)
    seen[:, :4] = False
    still[3, :4] += 1.0
    assert surface.unrest(still, seen) == 0
    assert np.isnan(surface.unrest(still, np.zeros_like(seen)))
