"""The avatar step: gradients add up, padding counts for nothing, bad steps leave the state alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import avatar, symgen
from zero1a_jax.symgen.optimizer import learning_rates
from zero1a_jax.symgen.update import example_loss, target_over

WHITE = np.ones(3, np.float32)


@pytest.fixture(scope="module")
def scene(fakes):
    model, config = fakes.sphere_head(), fakes.small_config().update
    portrait = fakes.disc_portrait(model)

    @jax.jit
    def make(key):
        return avatar.bind(key, model, jnp.zeros(4), capacity=160)

    state = symgen.init_state(make(jax.random.key(0)))
    frames = jax.tree.map(lambda x: np.stack([np.asarray(x)] * 3), portrait)
    batch = symgen.Batch(
        rgb=np.rint(frames.rgb * 255).astype(np.uint8),
        alpha=np.rint(frames.alpha * 255).astype(np.uint8),
        camera=frames.camera,
        flame=frames.flame,
        background=np.random.default_rng(0).random((3, 3), np.float32),
        weight=np.ones(3, np.float32),
    )
    return model, config, state, batch


def absolute(a, b):
    return jnp.mean(jnp.abs(a - b))


@pytest.fixture(scope="module")
def step(scene, fakes):
    """One program for all tests: a camera with a huge focal length overflows the raster."""
    _, config, _, _ = scene

    def renderer(gaussians, camera, **options):
        image = fakes.blob_render(gaussians, camera, **options)
        return image.replace(overflow=jnp.where(camera.focal[0] > 1000, 5, 0))

    options = {"renderer": renderer, "perceptual": absolute, "stored_background": WHITE, "config": config}
    return jax.jit(functools.partial(symgen.update, **options))


def same(a, b, *, but=()):
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        name = jax.tree_util.keystr(path)
        if not any(skip in name for skip in but):
            np.testing.assert_array_equal(x, y, err_msg=name)


def test_learns(scene, step):
    model, config, state, batch = scene
    losses = []
    for _ in range(40):
        state, metrics = step(state, batch, model)
        losses.append(float(metrics.loss))
    assert losses[-1] < 0.8 * losses[0]
    assert state.step == 40 and metrics.finite and metrics.overflow == 0
    assert float(state.seen.max()) == 120 and float(state.gradient_sum.max()) > 0
    assert 0 < float(state.largest_radius.max()) < 32
    total = (
        config.l1_weight * metrics.l1
        + config.perceptual_weight * metrics.perceptual
        + config.position_weight * metrics.position
        + config.scale_weight * metrics.scale
    )
    np.testing.assert_allclose(metrics.loss, total, rtol=1e-5)


def weighted(batch, *weight):
    return batch.replace(weight=np.array(weight, np.float32))


def test_padding_counts_for_nothing(scene, step):
    model, _, state, batch = scene
    new, metrics = step(state, weighted(batch, 1, 1, 0), model)
    garbage = batch.replace(rgb=batch.rgb.copy(), background=batch.background.copy())
    garbage.rgb[2], garbage.background[2] = 99, 0.5
    again, _ = step(state, weighted(garbage, 1, 1, 0), model)
    same(again, new)
    alone = [step(state, weighted(batch, *row), model)[1].loss for row in np.eye(3)[:2]]
    np.testing.assert_allclose(metrics.loss, sum(alone) / 2, rtol=1e-5)
    assert float(new.seen.max()) == 2


def test_overflow_changes_nothing(scene, step):
    model, _, state, batch = scene
    focal = batch.camera.focal * np.array([1, 1, 99], np.float32)[:, None]
    near = batch.replace(camera=batch.camera.replace(focal=focal))
    new, metrics = step(state, near, model)
    assert metrics.overflow == 5
    same(new, state)
    assert step(state, weighted(near, 1, 1, 0), model)[1].overflow == 0


def test_step_that_is_not_finite_is_skipped(scene, step):
    model, _, state, batch = scene
    new, metrics = step(state, batch.replace(background=batch.background * np.nan), model)
    assert not metrics.finite and new.step == state.step + 1
    same(new, state, but=("step",))


def test_dead_slots_stay(scene, step):
    model, config, state, batch = scene
    new, _ = step(state, batch, model)
    dead = ~np.asarray(state.avatar.alive)
    assert dead.sum() == 160 - len(model.faces)
    ours, theirs = (jax.tree.leaves(s.avatar.gaussians) for s in (new, state))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(np.asarray(a)[dead], np.asarray(b)[dead])
        assert (np.asarray(a)[~dead] != np.asarray(b)[~dead]).any()


def test_first_adam_step_has_the_length_of_the_learning_rate(scene, step):
    model, config, state, batch = scene
    new, _ = step(state, batch, model)
    rates = learning_rates(0, config, 1)
    for name in ("means", "log_scales", "quats", "sh", "opacity_logits"):
        after, before = (np.asarray(getattr(s.avatar.gaussians, name)) for s in (new, state))
        moved = np.abs(after - before)
        np.testing.assert_allclose(moved.max(), np.max(getattr(rates, name)), rtol=2e-3, err_msg=name)


def test_learning_rates(scene):
    _, config, _, _ = scene
    np.testing.assert_allclose(learning_rates(0, config, 1).means, config.position_lr, rtol=1e-5)
    last = learning_rates(config.steps, config, 1)
    np.testing.assert_allclose(last.means, config.position_lr_end, rtol=1e-5)
    middle = learning_rates(config.steps / 2, config, 4)
    np.testing.assert_allclose(middle.means, np.sqrt(config.position_lr * config.position_lr_end), rtol=1e-4)
    np.testing.assert_allclose(middle.sh[:, 0], config.colour_lr * np.array([1, 0.05, 0.05, 0.05]), rtol=1e-6)


def test_target_over_another_background():
    alpha = np.array([[0, 255, 128]], np.uint8)
    colour, new = np.array([0.2, 0.4, 0.6]), np.array([0.9, 0.1, 0.3])
    part = alpha[..., None] / 255.0
    stored = np.rint(255 * (colour * part + WHITE * (1 - part))).astype(np.uint8)
    result = target_over(stored, alpha, WHITE, new)
    np.testing.assert_allclose(result, colour * part + new * (1 - part), atol=0.004)
    smudge = target_over(np.full((1, 1, 3), 90, np.uint8), np.zeros((1, 1), np.uint8), WHITE, new)
    np.testing.assert_allclose(smudge[0, 0], new, atol=1e-6)


def test_gradient_reaches_all_fields(scene, fakes):
    """Finite differences of the step's loss, one field at a time, along a random direction."""
    model, config, state, batch = scene
    # The regularisers have kinks where training starts; the avatar's own tests check them.
    config = dataclasses.replace(config, position_weight=0.0, scale_weight=0.0)
    example = jax.tree.map(lambda x: x[0], batch)
    portrait_state = state.avatar

    @jax.jit
    def loss(gaussians):
        return example_loss(
            gaussians,
            jnp.zeros((160, 2)),
            example,
            portrait_state,
            model,
            renderer=fakes.blob_render,
            perceptual=absolute,
            stored_background=WHITE,
            config=config,
        )[0]

    gaussians = portrait_state.gaussians
    gradient = jax.jit(jax.grad(loss))(gaussians)
    rng = np.random.default_rng(1)
    for name, size in {"means": 1e-3, "log_scales": 1e-3, "sh": 1e-2, "opacity_logits": 1e-2}.items():
        value = getattr(gaussians, name)
        direction = np.sign(np.asarray(getattr(gradient, name))) * rng.random(value.shape).astype(np.float32)
        ahead, back = (loss(gaussians.replace(**{name: value + s * size * direction})) for s in (1, -1))
        slope = float(jnp.sum(getattr(gradient, name) * direction))
        assert slope > 0
        np.testing.assert_allclose((float(ahead) - float(back)) / (2 * size), slope, rtol=0.08, err_msg=name)
