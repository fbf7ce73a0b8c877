"""Density control: GaussianAvatars' decisions, fixed capacity, and what may never happen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from zero1a_jax.avatar import (
    Statistics,
    accumulate,
    density_control,
    reset_moments,
    zero_statistics,
)
from zero1a_jax.avatar.bind import bind
from zero1a_jax.avatar.density import densify, mean_gradient, protect, select
from zero1a_jax.config import Density
from zero1a_jax.geometry import triangle_frames
from zero1a_jax.types import Avatar, Gaussians

densify_jit = jax.jit(densify, static_argnames="config")


def case(reference, capacity):
    rig, arrays = reference("flame/rigging.npz"), reference("flame/densify.npz")
    count = len(rig["binding"])

    def pad(value):
        return jnp.asarray(
            np.concatenate([value, np.zeros((capacity - count, *value.shape[1:]), value.dtype)])
        )

    gaussians = Gaussians(
        means=pad(rig["local_xyz"]),
        log_scales=pad(rig["local_log_scaling"]),
        quats=pad(rig["local_rotation_wxyz"]),
        sh=pad(np.repeat(np.arange(count, dtype=np.float32), 3).reshape(count, 1, 3)),  # who the parent was
        opacity_logits=pad(rig["local_opacity_logit"][:, 0]),
    )
    avatar = Avatar(
        gaussians, pad(rig["binding"].astype(np.int32)), jnp.arange(capacity) < count, jnp.zeros(1)
    )
    names = ("densify_in_grad_accum", "densify_in_denom", "densify_in_max_radii2D")
    statistics = Statistics(*(pad(arrays[name].reshape(count)) for name in names))
    scale = triangle_frames(rig["verts"], rig["faces"])[2]
    return arrays, avatar, statistics, scale


def config_of(arrays, screen_rule=True):
    extent = float(arrays["densify_extent"])
    return Density(
        density_gradient=float(arrays["densify_max_grad"]),
        density_split_scale=0.01 * extent,
        density_opacity=float(arrays["densify_min_opacity"]),
        density_max_scale=0.1 * extent if screen_rule else 0.0,
    )


@pytest.mark.parity
def test_prune_rule(reference):
    rig, arrays = reference("flame/rigging.npz"), reference("flame/densify.npz")
    binding, faces = rig["binding"].astype(np.int32), len(rig["faces"])
    requested = jnp.asarray(arrays["prune_mask_requested"])
    found = protect(requested, jnp.ones(len(binding), bool), binding, faces)
    np.testing.assert_array_equal(found, arrays["prune_mask_effective"])
    np.testing.assert_array_equal(
        np.bincount(binding[~found], minlength=faces), arrays["prune_after_binding_counter"]
    )


@pytest.mark.parity
@pytest.mark.parametrize("rule", ["densify", "densify_noscreen"])
def test_a_round_of_density_control(reference, rule):
    arrays = reference("flame/densify.npz")
    expected = {
        name: arrays[f"{rule}_out_{name}"] for name in ("xyz", "scaling", "rotation", "opacity", "binding")
    }
    capacity = len(expected["binding"]) + 17
    _, avatar, statistics, scale = case(reference, capacity)
    config = config_of(arrays, rule == "densify")
    count = len(arrays["densify_sel_clone"])
    clone, split = select(avatar, scale, mean_gradient(statistics), config)
    np.testing.assert_array_equal(clone[:count], arrays["densify_sel_clone"])
    np.testing.assert_array_equal(split[:count], arrays["densify_sel_split"])

    # The reference drew offsets with the world scale: the same as ours with normals times k.
    normals = np.zeros((2, capacity, 3), np.float32)
    normals[:, np.flatnonzero(split)] = arrays["densify_split_standard_normal"].reshape(2, -1, 3)
    normals *= np.asarray(scale)[np.asarray(avatar.face_ids)][:, None]
    grown, _ = densify_jit(avatar, statistics, scale, normals, config=config)

    alive = np.asarray(grown.alive)
    faces = len(scale)
    counter = arrays[f"{rule}_out_binding_counter"]
    np.testing.assert_array_equal(np.bincount(np.asarray(grown.face_ids)[alive], minlength=faces), counter)
    g = grown.gaussians
    columns = (grown.face_ids[:, None], g.quats, g.opacity_logits[:, None], g.log_scales, g.means)
    found = np.concatenate([np.asarray(column) for column in columns], 1)[alive]
    names = ("rotation", "opacity", "scaling", "xyz")
    truth = np.concatenate([expected["binding"][:, None], *(expected[name] for name in names)], 1)
    assert found.shape == truth.shape
    # The order of slots is ours: sort both by what is copied exactly, then by rounded values.
    order = [np.lexsort(np.round(rows, 4).T[::-1]) for rows in (found, truth)]
    np.testing.assert_allclose(found[order[0]], truth[order[1]], rtol=0, atol=1e-6)


def test_full_capacity_gives_to_the_largest_gradients(reference):
    count = len(reference("flame/rigging.npz")["binding"])
    arrays, avatar, statistics, scale = case(reference, count + 5)
    # all equal but three larger ones: ties go to the lowest index
    gradient = np.full(count + 5, 1.0, np.float32)
    larger = [count // 25, count // 2, count - 60]
    gradient[larger] = [2.0, 2.0, 3.0]
    statistics = statistics.replace(gradient_sum=jnp.asarray(gradient), seen=jnp.ones(count + 5))
    config = Density(
        density_gradient=0.5, density_split_scale=1e9, density_opacity=0.0, density_max_scale=0.0
    )
    grown, fresh = densify_jit(
        avatar, statistics, scale, np.zeros((2, count + 5, 3), np.float32), config=config
    )
    assert bool(grown.alive.all())
    parents = np.asarray(grown.gaussians.sh[count:, 0, 0]).astype(int)
    assert sorted(parents) == [0, 1, *larger]
    np.testing.assert_array_equal(np.flatnonzero(fresh), np.arange(count, count + 5))
    again, fresh = densify_jit(
        grown, statistics, scale, np.zeros((2, count + 5, 3), np.float32), config=config
    )
    assert not bool(fresh.any())  # nothing is free: nothing changes
    np.testing.assert_array_equal(again.gaussians.means, grown.gaussians.means)


def test_pruned_slots_are_free_at_once(reference):
    count = len(reference("flame/rigging.npz")["binding"])
    _, avatar, statistics, scale = case(reference, count)
    bright = jnp.arange(count) % 2 == 1
    logits = jnp.where(bright, 2.0, -9.0)
    avatar = avatar.replace(gaussians=avatar.gaussians.replace(opacity_logits=logits))
    statistics = statistics.replace(gradient_sum=bright.astype(jnp.float32), seen=jnp.ones(count))
    config = Density(density_gradient=0.5, density_split_scale=1e9, density_max_scale=0.0)
    grown, _ = densify_jit(avatar, statistics, scale, np.zeros((2, count, 3), np.float32), config=config)
    pruned = int(protect(~bright, avatar.alive, avatar.face_ids, len(scale)).sum())
    assert pruned > 0 and bool(grown.alive.all())
    assert int((grown.gaussians.opacity_logits > 0).sum()) == int(bright.sum()) + pruned


def test_children_of_a_split_are_drawn_from_their_parent():
    """Offsets in triangle units: their spread is the parent's own, turned by its rotation."""
    count = 4000
    half = np.sqrt(0.5)
    gaussians = Gaussians(
        means=jnp.zeros((2 * count, 3)),
        log_scales=jnp.tile(jnp.log(jnp.array([0.4, 0.1, 0.2])), (2 * count, 1)),
        quats=jnp.tile(2.0 * jnp.array([half, 0, 0, half]), (2 * count, 1)),  # 90 degrees about z
        sh=jnp.zeros((2 * count, 1, 3)),
        opacity_logits=jnp.zeros(2 * count),
    )
    avatar = Avatar(gaussians, jnp.zeros(2 * count, jnp.int32), jnp.arange(2 * count) < count, jnp.zeros(1))
    statistics = Statistics(jnp.ones(2 * count), jnp.ones(2 * count), jnp.zeros(2 * count))
    normals = jax.random.normal(jax.random.key(0), (2, 2 * count, 3))
    config = Density(density_gradient=0.5, density_split_scale=0.0, density_max_scale=0.0)
    grown, fresh = densify_jit(avatar, statistics, jnp.array([0.01]), normals, config=config)
    assert bool(grown.alive.all()) and bool(fresh.all())
    np.testing.assert_allclose(jnp.std(grown.gaussians.means, 0), [0.1, 0.4, 0.2], rtol=0.05)
    np.testing.assert_allclose(
        jnp.exp(grown.gaussians.log_scales[0]), np.array([0.4, 0.1, 0.2]) / 1.6, rtol=1e-5
    )
    first, second = grown.gaussians.means[:count], grown.gaussians.means[count:]
    assert abs(float(jnp.mean(first * second))) < 1e-3


def test_control_is_deterministic_and_keeps_every_face(reference_model):
    head = reference_model(300)
    faces = len(head.faces)
    avatar = bind(jax.random.key(0), head, jnp.zeros(300), capacity=2 * faces, count=faces + 100)
    rng = np.random.default_rng(0)
    statistics = Statistics(*(jnp.asarray(rng.uniform(size=2 * faces), jnp.float32) for _ in range(3)))
    config = Density(
        density_gradient=0.5,
        density_split_scale=0.005,
        density_opacity=0.2,
        density_max_scale=0.0,
        density_max_radius=0.5,
    )
    control = jax.jit(functools.partial(density_control, config=config))
    first, fresh = control(jax.random.key(1), avatar, head, statistics)
    again, _ = control(jax.random.key(1), avatar, head, statistics)
    other, _ = control(jax.random.key(2), avatar, head, statistics)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(jnp.abs(first.gaussians.means - other.gaussians.means).max()) > 0
    for result in (first, other):
        living = np.bincount(np.asarray(result.face_ids)[np.asarray(result.alive)], minlength=faces)
        assert living.min() >= 1
    assert bool(jnp.all(fresh | first.alive)) and bool(jnp.any(fresh & first.alive))


def test_large_on_screen_goes_unless_it_is_the_last(reference_model):
    head = reference_model(300)
    faces = len(head.faces)
    avatar = bind(jax.random.key(0), head, jnp.zeros(300), capacity=faces + 40, count=faces + 40)
    statistics = zero_statistics(faces + 40).replace(
        largest_radius=jnp.full(faces + 40, 30.0).at[:faces].set(1.0)
    )
    config = Density(
        density_gradient=2e-4, density_opacity=0.0, density_max_scale=0.0, density_max_radius=20.0
    )
    normals = jnp.zeros((2, faces + 40, 3))
    scale = triangle_frames(jnp.asarray(head.template), head.faces)[2]
    left, fresh = densify_jit(avatar, statistics, scale, normals, config=config)
    np.testing.assert_array_equal(left.alive, jnp.arange(faces + 40) < faces)
    np.testing.assert_array_equal(fresh, ~left.alive)
    all_large = statistics.replace(largest_radius=jnp.full(faces + 40, 30.0))
    kept, _ = densify_jit(left, all_large, scale, normals, config=config)
    np.testing.assert_array_equal(kept.alive, left.alive)


def test_statistics_count_frames_that_see_a_gaussian():
    gradient = jnp.array([[[3.0, 4.0], [1.0, 0.0]], [[0.0, 2.0], [7.0, 7.0]]])  # pixels, two frames
    radii = jnp.array([[2.0, 5.0], [4.0, 0.0]])
    found = accumulate(zero_statistics(2), gradient, radii, height=4, width=2)
    np.testing.assert_allclose(found.gradient_sum, [np.hypot(3, 8) + 4, 1.0])  # half of 2 and 4 pixels
    np.testing.assert_allclose(found.seen, [2, 1])
    np.testing.assert_allclose(found.largest_radius, [4, 5])
    np.testing.assert_allclose(mean_gradient(found), [(np.hypot(3, 8) + 4) / 2, 1.0])
    np.testing.assert_allclose(mean_gradient(zero_statistics(2)), 0)
    one = jax.tree.map(lambda x: x[None], zero_statistics(2))
    split = jax.vmap(
        lambda g, r: accumulate(zero_statistics(2), g, r, height=4, width=2, axis_name="d"), axis_name="d"
    )(gradient, radii)
    for whole, part, start in zip(*map(jax.tree.leaves, (found, split, one)), strict=True):
        assert part.shape == (2, *start.shape[1:])
        np.testing.assert_allclose(part, np.stack([whole, whole]), rtol=1e-6)


def test_moments_of_fresh_slots_are_zero():
    values = Gaussians(*(jnp.ones((6, *s)) for s in ((3,), (3,), (4,), (1, 3), ())))
    optimizer = optax.adam(0.1)
    _, state = optimizer.update(values, optimizer.init(values))
    fresh = jnp.array([True, False, False, True, False, False])
    found = reset_moments(state, fresh)
    assert int(found[0].count) == 1
    for before, after in zip(jax.tree.leaves(state[0].mu), jax.tree.leaves(found[0].mu), strict=True):
        assert float(jnp.abs(after[fresh]).max()) == 0
        np.testing.assert_array_equal(after[~fresh], before[~fresh])


@pytest.mark.parity
def test_learning_rate_schedule(reference):
    """Position rates decay log-linearly from 5e-3 to 5e-5 over 600,000 steps, times the extent."""
    from types import SimpleNamespace

    from zero1a_jax.symgen.optimizer import learning_rates

    arrays = reference("flame/densify.npz")
    config = SimpleNamespace(
        steps=600_000,
        position_lr=5e-3,
        position_lr_end=5e-5,
        colour_lr=0.0025,
        opacity_lr=0.05,
        scale_lr=0.017,
        rotation_lr=0.001,
    )
    rates = [float(learning_rates(jnp.asarray(step), config, 1).means) for step in arrays["lr_steps"]]
    np.testing.assert_allclose(np.array(rates) * arrays["lr_spatial_scale"], arrays["lr_xyz"], rtol=1e-5)
