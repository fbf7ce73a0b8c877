"""Fits that start wrong and are corrected by a picture whose truth is known."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import flame, geometry
from zero1a_jax.preprocess import fit, look, refine
from zero1a_jax.preprocess.fit_photometric import PARTS, expected, harmonics, surface
from zero1a_jax.preprocess.fit_silhouette import find_rim, rim_weights
from zero1a_jax.preprocess.least_squares import minimise
from zero1a_jax.preprocess.prepare import covered


def _yaw(camera):
    return math.degrees(math.asin(-float(camera.world_to_camera[2, 0])))


@dataclasses.dataclass
class Known:
    flame: object
    camera: object


@pytest.fixture(scope="module")
def shown(head, truth):
    """A clay head before nothing, with points as a detector biased by 5 degrees would give them."""
    params, camera, _ = truth(3, 0.5)
    _, _, biased = truth(3, 0.5 + math.radians(5.0), spread=0.003)
    clay, cover = look.shaded(head, Known(params, camera))
    return camera, biased, clay * cover[..., None], cover


def test_the_edge_and_the_light_correct_a_biased_yaw(head, shown):
    camera, biased, rgb, cover = shown
    start = fit(head, biased, camera)
    alpha, inside = cover.astype(np.float32), np.ones_like(cover)
    refined = refine(head, start, biased, rgb, alpha, inside)
    before, after = (abs(_yaw(f.camera) - _yaw(camera)) for f in (start, refined))
    assert before > 4.0 and after < 0.7 * before
    both = [(covered(head, f)[0] >= 0) for f in (start, refined)]
    wrong = [(b ^ cover).sum() for b in both]
    assert wrong[1] < 0.8 * wrong[0]
    again = refine(head, start, biased, rgb, alpha, inside)
    for a, b in zip(jax.tree.leaves(refined), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert 0.0 < float(refined.rim) < 0.02  # the edge is the head's own
    # beyond the picture nothing is concluded, and a matte of nothing pulls at nothing
    blind = refine(head, start, biased, rgb, alpha, np.zeros_like(cover))
    assert abs(_yaw(blind.camera) - _yaw(start.camera)) < 1.5
    assert 0.0 < refined.confidence < start.confidence <= 1.0


@pytest.mark.slow  # compiles the correction of another head
def test_a_head_without_masks_is_corrected_by_the_edge_alone(head, shown):
    """As official files are where FLAME_masks.pkl is not beside them."""
    camera, biased, rgb, cover = shown
    head = head.replace(masks=None)
    start = fit(head, biased, camera)
    refined = refine(head, start, biased, rgb, cover.astype(np.float32), np.ones_like(cover))
    before, after = (abs(_yaw(f.camera) - _yaw(camera)) for f in (start, refined))
    assert before > 4.0 and after < 0.7 * before


def test_the_rim_finds_the_edge_beside_it(head, truth):
    params, camera, _ = truth(3, 0.5)
    vertices, _ = flame.forward(head, params)
    faces = jnp.asarray(head.faces)
    pixels, _ = geometry.project(camera, vertices)
    normals = geometry.vertex_normals(vertices, faces) @ camera.world_to_camera[:3, :3].T
    face_id, _ = covered(head, Known(params, camera))
    moved = np.roll(face_id >= 0, 4, 1).astype(np.float32)  # the person 4 px to the right of the mesh
    rim = find_rim(pixels, normals, faces, jnp.asarray(face_id), jnp.asarray(moved), rim_weights(head))
    used = np.asarray(rim.weights) > 0
    assert used.sum() > 20
    gap = np.asarray(rim.edges - pixels[rim.vertices])[used]
    along = (gap * np.asarray(rim.normals)[used]).sum(-1)
    sideways = 4.0 * np.asarray(rim.normals)[used, 0]
    assert np.median(np.abs(along - sideways)) < 1.0


def test_light_and_albedo_are_found_and_what_is_no_skin_is_not_believed(head):
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(400, 3))
    normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
    parts = np.zeros((400, len(PARTS)), np.float32)
    parts[:60, 0] = 1.0
    light = np.array([[0.5], [0.05], [0.1], [-0.1]] + [[0.0]] * 5) * (1.0, 0.8, 0.7)
    true = np.asarray(harmonics(jnp.asarray(normals))) @ light
    true[:60] *= (0.9, 0.5, 0.5)
    seen, weights = true.copy(), np.ones(400, np.float32)
    seen[100:140], weights[100:140] = 0.0, 0.0
    found = np.asarray(expected(jnp.asarray(seen), jnp.asarray(normals), jnp.asarray(parts), weights))
    assert np.abs(found - true).max() < 0.02
    chosen = surface(head)
    assert chosen is not None and (chosen.parts.sum(0) > 3).all()
    assert surface(head.replace(masks=None)) is None


def test_damped_least_squares_holds_what_is_not_free():
    def residuals(v):
        return jnp.stack([10.0 * (v[1] - v[0] ** 2), 1.0 - v[0]])  # Rosenbrock's valley

    found = minimise(residuals, jnp.array([-1.2, 1.0]), jnp.ones((40, 2)))
    assert np.abs(np.asarray(found) - 1.0).max() < 1e-4
    held = minimise(residuals, jnp.array([-1.2, 1.0]), jnp.tile(jnp.array([0.0, 1.0]), (10, 1)))
    assert float(held[0]) == np.float32(-1.2) and abs(float(held[1]) - 1.44) < 1e-4
