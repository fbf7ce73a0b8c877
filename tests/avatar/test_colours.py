"""First colours: what the portrait shows comes back, what it hides is mirrored or filled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.avatar import bind, colours_from_portrait
from zero1a_jax.avatar.colours import mirror_faces
from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.geometry import face_normals, portrait_camera, project, triangle_frames
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.image.colour import from_sh
from zero1a_jax.types import Portrait

SIZE = 96


def paint(template, symmetric):
    """Smooth colours [V, 3] over the template; bands along the height, and sides unless symmetric."""
    red = 0.5 + 0.3 * np.sin(template[:, 1] * 40)
    side = np.abs(template[:, 0]) if symmetric else template[:, 0]
    return np.stack([red, 0.5 + 3.0 * side, np.full(len(red), 0.3)], -1).clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def scene():
    head = procedural_head()
    params = zero_params(head)
    vertices, _ = jax.jit(forward)(head, params)
    colour = jax.jit(colours_from_portrait)

    def make(yaw, symmetric, painted=None):
        camera = portrait_camera(frame_target(head, params.shape), yaw, 0.0, SIZE)
        pixels, depth = project(camera, vertices)
        faces = jnp.asarray(head.faces)
        face, weights, _ = jax.jit(zbuffer, static_argnums=(3, 4))(pixels, depth, faces, SIZE, SIZE)
        painted = jnp.asarray(paint(head.template, symmetric) if painted is None else painted)
        rgb = jnp.einsum("hwk,hwkc->hwc", weights, painted[faces[jnp.maximum(face, 0)]])
        alpha = (face >= 0).astype(jnp.float32)
        portrait = Portrait(rgb + 1 - alpha[..., None], alpha, jnp.zeros((105, 2)), camera, params)
        avatar = bind(jax.random.key(0), head, params.shape, capacity=len(faces) + 7)
        found = from_sh(colour(avatar, head, portrait).gaussians.sh[: len(faces), 0])
        return np.asarray(found), np.asarray(painted)[head.faces].mean(1), camera

    return head, np.asarray(vertices), make


def skin(head):
    """Triangles that are no eye, tooth, tongue or mouth."""
    names = ("left_eyeball", "right_eyeball", "teeth", "tongue", "mouth_interior")
    hidden = np.any([head.masks[name] for name in names], 0)
    return ~hidden[head.faces].all(1)


def facing(head, vertices, yaw):
    toward = np.array([np.sin(yaw), 0, np.cos(yaw)])
    return np.asarray(face_normals(vertices, head.faces)) @ toward > 0.6


def test_the_visible_face_gets_its_own_colours(scene):
    head, vertices, make = scene
    found, truth, _ = make(0.0, False)
    front = facing(head, vertices, 0.0) & skin(head) & head.masks["face"][head.faces].all(1)
    error = np.abs(found - truth).max(1)[front]
    assert front.sum() > 500 and np.median(error) < 0.02 and np.quantile(error, 0.95) < 0.08


def test_the_hidden_side_is_mirrored(scene):
    head, vertices, make = scene
    found, truth, _ = make(0.7, True)  # seen from the subject's left: its right cheek is hidden
    cheek = facing(head, vertices, -0.9) & skin(head) & head.masks["face"][head.faces].all(1)
    assert cheek.sum() > 100 and np.median(np.abs(found - truth).max(1)[cheek]) < 0.03


def test_everything_has_a_plausible_colour(scene):
    head, vertices, make = scene
    found, _, _ = make(0.0, False)
    assert np.isfinite(found).all() and found.min() >= -1e-5 and found.max() <= 1 + 1e-5
    back = facing(head, vertices, np.pi) & skin(head)
    assert np.abs(found[back, 2] - 0.3).max() < 0.05  # the blue that all skin has; not the white background
    teeth = head.masks["teeth"][head.faces].all(1)
    assert found[teeth].mean() > 0.7  # hidden behind closed lips
    mouth = head.masks["mouth_interior"][head.faces].all(1) & ~teeth
    assert np.median(found[mouth, 0] - found[mouth, 1]) > 0.05  # reddish


@pytest.mark.parametrize("bald", [False, True])
def test_hidden_hair_and_a_collar_go_round(scene, bald):
    """Brown on top, blue below the middle of the neck: from the front the back of both is hidden."""
    head, vertices, make = scene
    skin, hair, cloth = np.array([[0.8, 0.6, 0.5], [0.3, 0.2, 0.1], [0.1, 0.2, 0.7]], np.float32)
    neck = head.masks["neck"]
    middle = np.median(head.template[neck, 1])
    painted = np.where(head.masks["scalp"][:, None] & (not bald), hair, skin)
    low = (neck | head.masks["boundary"])[:, None] & (head.template[:, 1:2] < middle)
    painted = np.where(low, cloth, painted)
    found, truth, _ = make(0.0, True, painted.astype(np.float32))
    behind = facing(head, vertices, np.pi)
    scalp = head.masks["scalp"][head.faces].all(1) & behind
    assert scalp.sum() > 100 and np.abs(found - truth)[scalp].max(1).mean() < 0.05
    height = head.template[head.faces].mean(1)[:, 1]
    nape = neck[head.faces].all(1) & behind & (np.abs(height - middle) > 0.015)
    assert nape.sum() > 20 and np.quantile(np.abs(found - truth)[nape].max(1), 0.9) < 0.15


def test_mirrored_triangles_are_across():
    head = procedural_head()
    partner = np.asarray(jax.jit(mirror_faces)(head))
    centre = head.template[head.faces].mean(1)
    distance = np.linalg.norm(centre[partner] - centre * [-1, 1, 1], axis=-1)
    size = np.asarray(jax.jit(triangle_frames)(head.template, head.faces)[2])
    assert np.median(distance) < 1e-4 and np.quantile(distance / size, 0.99) < 1.0
    assert (partner[partner] == np.arange(len(partner))).mean() > 0.9


def test_higher_bands_stay_zero_and_dead_slots_stay_dead():
    head = procedural_head()
    params = zero_params(head)
    camera = portrait_camera(frame_target(head, params.shape), 0.0, 0.0, SIZE)
    portrait = Portrait(
        jnp.full((SIZE, SIZE, 3), 0.7), jnp.ones((SIZE, SIZE)), jnp.zeros((105, 2)), camera, params
    )
    avatar = bind(jax.random.key(0), head, params.shape, capacity=len(head.faces) + 7, degree=1)
    found = jax.jit(colours_from_portrait)(avatar, head, portrait)
    np.testing.assert_array_equal(found.gaussians.sh[:, 1:], 0)
    np.testing.assert_array_equal(found.alive, avatar.alive)
    np.testing.assert_array_equal(found.gaussians.means, avatar.gaussians.means)
    face = head.masks["nose"][head.faces].all(1)
    np.testing.assert_allclose(from_sh(found.gaussians.sh[: len(face)][face, 0]), 0.7, atol=1e-4)
