"""What the portrait shows beside the mesh gets Gaussians of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from zero1a_jax import rasterizer
from zero1a_jax.avatar import bind, cover_outside, pose
from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera, project, zbuffer
from zero1a_jax.types import Portrait

SIZE = 64


@pytest.fixture(scope="module")
def made():
    model = procedural_head()
    params = zero_params(model)
    camera = portrait_camera(frame_target(model, params.shape), 0.2, 0.0, SIZE)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    alpha = (np.hypot(x - 32, y - 26) < 24).astype(np.float32)  # a disc that reaches beyond the head
    rgb = np.where(alpha[..., None] > 0, np.array([0.9, 0.2, 0.1]), 1.0).astype(np.float32)
    portrait = Portrait(jnp.asarray(rgb), jnp.asarray(alpha), jnp.zeros((105, 2)), camera, params)
    capacity = int(1.3 * len(model.faces))
    plain = jax.jit(bind, static_argnames="capacity")(
        jax.random.key(0), model, params.shape, capacity=capacity
    )
    return model, portrait, plain, jax.jit(cover_outside)(plain, model, portrait)


def test_the_empty_part_of_the_person_is_covered(made):
    model, portrait, plain, covered = made

    @jax.jit
    def render(avatar):
        posed = pose(avatar, model, portrait.flame)
        return rasterizer.render(posed, portrait.camera, background=jnp.ones(3), capacity=1 << 16)

    before, after = render(plain), render(covered)
    empty = np.asarray((portrait.alpha > 0) & (before.alpha < 0.05))
    assert empty.mean() > 0.1
    assert float(np.median(np.asarray(after.alpha)[empty])) > 0.7
    shown = np.asarray(after.rgb)[empty].mean(0)
    np.testing.assert_allclose(shown, [0.9, 0.2, 0.1], atol=0.2)
    background = np.asarray(portrait.alpha == 0)
    assert float(np.asarray(after.alpha)[background].mean()) < 0.2


def test_half_of_the_free_slots_stay_free(made):
    _, _, plain, covered = made
    was, now = np.asarray(plain.alive), np.asarray(covered.alive)
    assert (now >= was).all()
    assert (now & ~was).sum() <= 0.5 * (~was).sum()
    for old, new in zip(jax.tree.leaves(plain.gaussians), jax.tree.leaves(covered.gaussians), strict=True):
        np.testing.assert_array_equal(np.asarray(old)[was], np.asarray(new)[was])
        assert np.isfinite(np.asarray(new)).all()


def test_a_person_within_the_mesh_changes_nothing(made):
    model, portrait, plain, _ = made
    none = portrait.replace(alpha=jnp.zeros_like(portrait.alpha))
    same = jax.jit(cover_outside)(plain, model, none)
    np.testing.assert_array_equal(same.alive, plain.alive)
    for old, new in zip(jax.tree.leaves(plain), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(np.asarray(old), np.asarray(new))


def test_a_line_along_the_outline_is_left_out(made):
    """A pixel of person beside the mesh, all around it: a fit's error, and specks from the side."""
    model, portrait, plain, _ = made
    vertices, _ = forward(model, portrait.flame)
    face_id, _, _ = jax.jit(zbuffer, static_argnums=(3, 4))(
        *project(portrait.camera, vertices), jnp.asarray(model.faces), SIZE, SIZE
    )
    hit = np.asarray(face_id) >= 0
    for reach, some in ((1, False), (6, True)):
        alpha = scipy.ndimage.binary_dilation(hit, iterations=reach).astype(np.float32)
        covered = jax.jit(cover_outside)(plain, model, portrait.replace(alpha=jnp.asarray(alpha)))
        assert (np.asarray(covered.alive) != np.asarray(plain.alive)).any() == some


def test_a_soft_rim_gets_no_gaussians(made):
    """Its colours are half the background's."""
    model, portrait, plain, _ = made
    soft = portrait.replace(alpha=0.8 * portrait.alpha)
    np.testing.assert_array_equal(jax.jit(cover_outside)(plain, model, soft).alive, plain.alive)
