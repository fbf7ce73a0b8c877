"""The pieces of pretraining, on a tiny model and made-up pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from zero1a_jax.avatar.texture_prior import load_prior
from zero1a_jax.flame import forward, frame_target, procedural_head, zero_params
from zero1a_jax.flame.pncc import pncc
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.pretraining import degrade as pretrain_degrade
from zero1a_jax.pretraining import denoiser as pretrain_denoiser
from zero1a_jax.pretraining import loop as pretrain_loop
from zero1a_jax.pretraining.data import Cache
from zero1a_jax.pretraining.drafts import draft
from zero1a_jax.types import Portrait


def train(folder, steps):
    def loss(params, data, key):
        return jnp.sum((params["w"] - data + 0.1 * jax.random.normal(key, (3,))) ** 2), {}

    def batch(step):
        return np.random.default_rng(step).normal(size=3).astype(np.float32)

    folder.mkdir(exist_ok=True)
    return pretrain_loop.run(
        "toy",
        folder,
        {"w": jnp.ones(3)},
        loss,
        batch,
        steps=steps,
        peak=1e-2,
        seed=0,
        save_every=4,
        log_every=4,
    )


def test_training_resumes_exactly(tmp_path):
    whole = train(tmp_path / "a", 8)
    file = tmp_path / "b" / "toy.ckpt"
    train(tmp_path / "b", 8)
    file.unlink()
    real = pretrain_loop.learning_rate
    try:  # stop after 4 of 8 steps: the first checkpoint, the schedule of the whole
        pretrain_loop.learning_rate = lambda step, steps, peak: real(step, 8, peak)
        train(tmp_path / "b", 4)
    finally:
        pretrain_loop.learning_rate = real
    resumed = train(tmp_path / "b", 8)
    assert resumed.step == 8
    np.testing.assert_array_equal(resumed.params["w"], whole.params["w"])
    np.testing.assert_array_equal(resumed.average["w"], whole.average["w"])
    average = pretrain_loop.load_average(file, {"w": jnp.zeros(3)})
    np.testing.assert_array_equal(average["w"], whole.average["w"])


def test_learning_rate_warms_up_and_decays():
    rates = [pretrain_loop.learning_rate(step, 1000, 1.0) for step in range(1000)]
    assert rates[0] == 0.01 and rates[99] == 1 and rates[599] == 1
    assert abs(rates[800] - 0.5) < 1e-9 and rates[-1] == 0.02


def test_degradations():
    frame = jax.random.uniform(jax.random.key(0), (24, 24, 3))
    alpha = jnp.zeros((24, 24)).at[8:16].set(1.0)
    np.testing.assert_allclose(pretrain_degrade.blur(jnp.ones((24, 24, 3)), 2.0), 1.0, atol=1e-6)
    smooth = gaussian_filter(np.asarray(frame), (2.0, 2.0, 0.0), mode="nearest", truncate=4.0)
    np.testing.assert_allclose(pretrain_degrade.blur(frame, 2.0), smooth, atol=1e-5)
    spotted = pretrain_degrade.speckle(jax.random.key(1), frame, alpha)
    np.testing.assert_array_equal(spotted[:8], frame[:8])
    assert float(jnp.abs(spotted - frame)[8:16].mean()) > 0.005
    shifted = pretrain_degrade.shift_colour(frame, alpha, jnp.array([0.5, 1.0, 1.0]), jnp.zeros(3))
    np.testing.assert_allclose(shifted[:8], frame[:8], atol=1e-6)
    np.testing.assert_allclose(shifted[8:16, :, 0], 0.5 * frame[8:16, :, 0], atol=1e-6)
    left = pretrain_degrade.mirror(frame, jnp.array(True))
    np.testing.assert_allclose(left[:, 0], frame[:, -1], atol=1e-2)
    np.testing.assert_allclose(left[:, -1], frame[:, -1], atol=1e-2)


@pytest.mark.parametrize("yaw", [0.0, 0.5])
def test_draft_carries_the_portrait_over(yaw):
    """A head coloured by its own coordinates: from any view the draft shows those coordinates again."""
    model, size = procedural_head(), 96
    params = zero_params(model)
    target = frame_target(model, params.shape)
    here, there = (portrait_camera(target, angle, 0.0, size) for angle in (0.0, yaw))
    vertices, _ = forward(model, params)
    seen, wanted = (jax.jit(pncc)(model, vertices, camera) for camera in (here, there))
    portrait = Portrait(seen, (seen.max(-1) > 0) * 1.0, jnp.zeros((105, 2)), here, params)
    one = jax.tree.map(lambda x: x[None], (params, there))
    made = jax.jit(draft)(jax.random.key(0), model, load_prior(), portrait, *one)[0]
    both = np.asarray((wanted.max(-1) > 0) & (made.min(-1) < 1))
    assert both.mean() > 0.9 * np.asarray(wanted.max(-1) > 0).mean()
    front = both & (np.asarray(wanted[..., 2]) > 0.6)  # the face, which the portrait shows
    assert np.median(np.abs(np.asarray(made - wanted))[front]) < 0.02
    assert bool((made[:4, :4] == 1).all())


def test_stages_share_the_parameters_out(make_config, make_params):
    params = make_params(make_config(shared_unets=True))
    parts = [pretrain_denoiser.trainable(params, motion) for motion in (False, True)]
    paths = [
        {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(p)} for p in parts
    ]
    every = {
        jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_leaves_with_path({k: v for k, v in params.items() if k != "vae"})
    }
    assert paths[0] | paths[1] == every and not paths[0] & paths[1]
    assert paths[1] and all("motion_modules" in path for path in paths[1])
    merged = pretrain_denoiser.merge(params, jax.tree.map(jnp.zeros_like, parts[1]))
    assert jax.tree.structure(merged) == jax.tree.structure(params)
    assert not any(x.any() for x in jax.tree.leaves(pretrain_denoiser.trainable(merged, True)))


def made_up_cache(config, people=4):
    rng = np.random.default_rng(0)

    def images(size, *channels):
        return rng.integers(0, 256, (people, 3, size, size, *channels), dtype=np.uint8)

    size = config.frame_size
    return Cache(images(size, 3), images(size), images(config.condition_size, 3), images(size, 3), people)


@pytest.mark.slow  # compiles two training steps
def test_stages_train_their_own_parameters(tmp_path, make_config, make_params):
    config = make_config(precondition=True, shared_unets=True, reference_pose=True)
    params, cache = make_params(config), made_up_cache(config)
    for motion in (False, True):
        name = "motion" if motion else "spatial"
        trained = pretrain_denoiser.train(
            name, config, params, cache, tmp_path, steps=2, seed=0, identities=4, motion=motion, portraits=2
        )
        for path, before in jax.tree_util.tree_leaves_with_path(params):
            after = trained
            for part in path:
                after = after[part.key]
            assert bool(jnp.isfinite(after).all())
            moved = bool((np.asarray(after) != np.asarray(before)).any())
            if path[0].key == "vae" or ("motion_modules" in str(path)) != motion:
                assert not moved, path
        key = next(
            k
            for k in trained["denoiser"]["body"]["down_blocks_1"]
            if k.startswith("motion" if motion else "res")
        )
        assert not np.array_equal(
            jax.tree.leaves(trained["denoiser"]["body"]["down_blocks_1"][key])[0],
            jax.tree.leaves(params["denoiser"]["body"]["down_blocks_1"][key])[0],
        )


def test_timesteps_lean_to_the_noisy_end():
    times = np.asarray(
        jax.vmap(lambda k: pretrain_denoiser.timesteps(k, (4, 3), 1000))(
            jax.random.split(jax.random.key(0), 200)
        )
    )
    assert times.min() >= 0 and times.max() <= 999
    assert 540 < times.mean() < 600 and (times < 200).mean() > 0.1
