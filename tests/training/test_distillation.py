"""Score distillation in place of a dataset: the avatar goes where the diffusion's frames are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import diffusion, symgen
from zero1a_jax.devices import first
from zero1a_jax.diffusion import distill
from zero1a_jax.errors import Refused
from zero1a_jax.training import distillation, loop, setup
from zero1a_jax.training.programs import Programs
from zero1a_jax.training.progress import start

RED = np.array([0.9, 0.2, 0.1], np.float32)
SPREAD = 0.03


def red_diffusion(size):
    """Every frame is red, but for noise of a known variance; without the portrait it is grey."""
    bars = jnp.asarray(diffusion.schedule.alpha_bars())

    def velocity(params, x, timestep, portrait, conditions):
        a, mean = bars[timestep], jnp.full(3, 0.5) if portrait is None else jnp.asarray(RED)
        clean = mean + a**0.5 * SPREAD / (a * SPREAD + 1 - a) * (x - a**0.5 * mean)
        return (a**0.5 * x - clean) / (1 - a) ** 0.5

    return diffusion.adapt(
        velocity,
        reference=lambda params, rgb, condition: rgb,
        encode=lambda params, frames: frames,
        decode=lambda params, latents: jnp.clip(latents, 0, 1),
        frame_size=size,
        condition_size=size,
    )


def trained(fakes, method, *, devices=1, steps=6, **changes):
    changes = {"distill_weight": 300.0, "distill_guidance": 1.0, "density_every": 0} | changes
    config = fakes.small_config(method=method, steps=steps, **changes)
    made = setup.build(
        config, fakes.fake_parts(diffusion=red_diffusion(fakes.SIZE)), jax.local_devices()[:devices]
    )
    progress = start(made)
    before = jax.tree.map(np.array, first(progress.state.avatar))
    loop.train(made, Programs(made), progress, Quiet(), save=lambda step: None, stop=lambda: False)
    return made, before, progress


class Quiet:
    def say(self, text):
        pass

    def began(self, step):
        pass

    def step(self, step, values):
        assert np.isfinite(values["loss"])

    def image(self, name, image, step):
        pass


@pytest.mark.parametrize("method", ["sds", "ism", "nfsd"])
def test_the_avatar_goes_where_the_frames_are(fakes, method):
    # ISM's gradient is guidance alone where a model is exact.
    made, before, progress = trained(fakes, method, portrait_share=0.0, distill_guidance=2.0, colour_lr=0.05)
    change = first(progress.state.avatar).gaussians.sh[:, 0] - before.gaussians.sh[:, 0]
    seen = first(progress.state.seen) > 0
    red, green, _ = change[seen].mean(0)
    assert seen.sum() > 20 and red > 0.02 and red > green + 0.02
    assert progress.dataset.round.sum() == 1 and progress.skipped == 0  # no frames were made


def test_devices_change_no_bit(fakes):
    states = [first(trained(fakes, "sds", devices=n)[2].state) for n in (1, 2)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_the_portraits_pairs_are_fitted_as_ever(fakes):
    """With the portrait alone nothing is distilled: the avatar is that of --method=portrait_only."""
    alone = trained(fakes, "portrait_only")[2].state
    made, _, progress = trained(fakes, "sds", portrait_share=1.0)
    plain, pulled = first(alone.avatar).gaussians, first(progress.state.avatar).gaussians
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), plain, pulled)


def test_the_gradient_of_a_frame(fakes):
    """Encoding halves: the frames' gradient is the score's, spread over the pixels of a latent."""
    model, key = red_diffusion(fakes.SIZE), jax.random.key(3)
    halved = model._replace(encode=lambda params, frames: frames.reshape(2, 16, 2, 16, 2, 3).mean((2, 4)))
    config = fakes.small_config(method="sds", distill_guidance=1.0, distill_weight=5.0).refresh
    rgb = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    found = distillation.frame_gradient(
        halved,
        None,
        rgb[0],
        jnp.asarray(rgb),
        None,
        negative=rgb[0],
        timestep=jnp.int32(400),
        key=key,
        config=config,
    )
    latents = halved.encode(None, rgb)
    noise = jax.random.normal(key, latents.shape)
    velocity = distill.of_model(halved, None, rgb[0], None)
    score = distill.sds(velocity, halved.bars, latents, 400, noise, guidance=1.0)
    wanted = np.repeat(np.repeat(5.0 * score / (16 * 16 * 3) / 4, 2, 1), 2, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-7)
    assert np.abs(wanted).max() > 1e-5


def test_a_diffusion_without_scores_is_refused(fakes):
    with pytest.raises(Refused, match="--method=ism needs `velocity`"):
        setup.build(fakes.small_config(method="ism"), fakes.fake_parts(), jax.local_devices()[:1])


def test_the_spoilt_portrait_has_neither_detail_nor_colour():
    rgb = np.random.default_rng(0).random((32, 32, 3), np.float32)
    found = np.asarray(distillation.spoilt(rgb))
    assert np.ptp(found, axis=-1).max() < 1e-6 and found.std() < 0.5 * rgb.mean(-1).std()
    assert abs(found.mean() - rgb.mean()) < 0.02


def test_pairs_of_a_step(fakes):
    """About as many as asked for are the portrait; the others are frames of one active sample."""
    config = fakes.small_config(method="sds", portrait_share=0.5, batch=3)
    made = setup.build(config, fakes.fake_parts(diffusion=red_diffusion(fakes.SIZE)), jax.local_devices()[:1])
    programs, progress = Programs(made), start(made)
    own = []
    for step in range(40):
        plan = programs.plan(step)
        drawn = distillation.draw(made, progress.dataset, plan, step)
        own += list(drawn.batch.weight)
        assert np.asarray(plan.active)[drawn.slot] and not progress.dataset.frozen[drawn.slot]
        camera, _ = symgen.sequence(made.samples, drawn.slot, np.asarray(plan.views))
        others = drawn.batch.weight == 0
        np.testing.assert_array_equal(
            drawn.batch.camera.world_to_camera[others],
            np.asarray(camera.world_to_camera)[drawn.frames[others]],
        )
        assert (drawn.batch.background[others] == made.background).all()
    assert 0.35 < np.mean(own) < 0.65
