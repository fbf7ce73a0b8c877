"""Score distillation against the papers' formulas in float64 numpy, and on the miniature."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.diffusion import build, distill, load_miniature, schedule

BARS = schedule.alpha_bars()
RNG = np.random.default_rng(0)
MIX, TARGET = RNG.normal(size=(6, 6)) / 3, RNG.normal(size=6)
LATENTS, NOISE = RNG.normal(size=(2, 3, 6))


def toy(x, timestep, guidance, target=TARGET, xp=np):
    """A nonlinear velocity with a condition: works on numpy and on jax."""
    return xp.tanh(x @ MIX + timestep / 1000.0) + guidance * 0.3 * (target - x)


def noise_of(x, timestep, guidance, **options):
    """The noise that the toy predicts, from v-prediction's definition."""
    a = BARS[timestep]
    return np.sqrt(1 - a) * x + np.sqrt(a) * toy(x, timestep, guidance, **options)


VELOCITY = functools.partial(toy, xp=jnp)
NEGATIVE = functools.partial(toy, xp=jnp, target=-TARGET)


def close(ours, wanted):
    """In float64, with the timestep traced."""
    np.testing.assert_allclose(ours, wanted, atol=1e-12)


@pytest.mark.parametrize("timestep", [20, 500, 999])
def test_sds_and_nfsd(timestep):
    a = BARS[timestep]
    x = np.sqrt(a) * LATENTS + np.sqrt(1 - a) * NOISE
    free, given = noise_of(x, timestep, 0.0), noise_of(x, timestep, 1.0)
    negative = noise_of(x, timestep, 1.0, target=-TARGET)
    domain = free if timestep < 200 else free - negative
    with jax.enable_x64(True):
        given64 = jnp.asarray(LATENTS), jnp.int32(timestep), jnp.asarray(NOISE)
        sds = jax.jit(functools.partial(distill.sds, VELOCITY, BARS))
        close(sds(*given64), (1 - a) * (free + 7.5 * (given - free) - NOISE))
        nfsd = jax.jit(functools.partial(distill.nfsd, VELOCITY, BARS, negative=NEGATIVE, guidance=3.0))
        close(nfsd(*given64), (1 - a) * (domain + 3.0 * (given - free)))


def ism_by_hand(timestep, interval, stride, guidance):
    """DDIM inversion in its usual form, by clean latents and noise: 0, stride, 2 stride, ..., s, t."""
    source = max(timestep - interval, 0)
    x, time = LATENTS, 0

    def parts(x, time, guidance):
        a = 1.0 if time == 0 else BARS[time]
        v = toy(x, time, guidance)
        return np.sqrt(a) * x - np.sqrt(1 - a) * v, np.sqrt(1 - a) * x + np.sqrt(a) * v

    def move(x, time, end):
        clean, noise = parts(x, time, 0.0)
        a = 1.0 if end == 0 else BARS[end]
        return np.sqrt(a) * clean + np.sqrt(1 - a) * noise

    while time < source:
        end = min(time + stride, source)
        x, time = move(x, time, end), end
    after = move(x, source, timestep)
    difference = parts(after, timestep, guidance)[1] - parts(x, source, 0.0)[1]
    return (1 - BARS[timestep]) * difference


@pytest.mark.parametrize(
    "timestep, interval, stride", [(500, 50, 200), (450, 50, 200), (30, 50, 200), (999, 80, 90)]
)
def test_ism(timestep, interval, stride):
    with jax.enable_x64(True):
        ism = jax.jit(functools.partial(distill.ism, VELOCITY, BARS, stride=stride, guidance=2.0))
        ours = ism(jnp.asarray(LATENTS), jnp.int32(timestep), interval=jnp.int32(interval))
    close(ours, ism_by_hand(timestep, interval, stride, 2.0))


def test_what_makes_the_gradients_vanish():
    """SDS: a prediction that is the noise. ISM: neither interval nor guidance. NFSD: the negative is all."""
    t, x = jnp.int32(400), jnp.asarray(LATENTS, jnp.float32)

    def knows(noisy, timestep, guidance):
        bar = jnp.asarray(BARS, jnp.float32)[timestep]
        return schedule.velocity_of(noisy, NOISE, bar)

    assert np.abs(distill.sds(knows, BARS, x, t, NOISE)).max() < 1e-5
    assert np.abs(distill.ism(VELOCITY, BARS, x, t, interval=0, guidance=0.0)).max() == 0
    assert np.abs(distill.ism(VELOCITY, BARS, x, t, interval=50, guidance=0.0)).max() > 0.01
    free = functools.partial(toy, xp=jnp, guidance=0.0)

    def unguided(x, timestep, guidance):
        return free(x, timestep)

    silent = functools.partial(distill.nfsd, unguided, BARS, x, noise=NOISE, negative=unguided)
    assert np.abs(silent(timestep=jnp.int32(200))).max() == 0
    assert np.abs(silent(timestep=jnp.int32(199))).max() > 0.01  # below the switch the domain's part stays


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sds", "ism", "nfsd"])
def test_the_miniature_pulls_another_persons_latents_to_the_condition(name):
    """Held-out people, 100 steps of Adam from somebody else in another pose; PSNR to the truth, the head."""
    import optax

    from zero1a_jax.image.ops import psnr

    with np.load(Path(__file__).parent / "people.npz") as arrays:
        people = {key: jnp.asarray(array[:4], jnp.float32) / 255 for key, array in arrays.items()}
    config, params = load_miniature()
    model = build(config)
    given = jax.jit(jax.vmap(model.reference, (None, 0, 0)))(params, people["portrait"], people["own"])
    spoilt = jax.tree.map(lambda x: jnp.roll(x, 1, 0), given)  # the negative: somebody else
    truth = jax.jit(model.encode)(params, people["truth"])
    start = jnp.roll(truth, 1, 0)
    optimizer = optax.adam(0.05)

    def gradient(x, given, spoilt, condition, timestep, noise):
        velocity = distill.of_model(model, params, given, condition[None])
        if name == "sds":
            return distill.sds(velocity, model.bars, x[None], timestep, noise[None], guidance=2.0)[0]
        if name == "ism":
            return distill.ism(velocity, model.bars, x[None], timestep, guidance=2.0)[0]
        negative = distill.of_model(model, params, spoilt, condition[None])
        return distill.nfsd(
            velocity, model.bars, x[None], timestep, noise[None], negative=negative, guidance=2.0
        )[0]

    @jax.jit
    def step(x, state, key):
        times, noises = jax.random.split(key)
        timestep = jax.random.randint(times, (), 20, 700)
        noise = jax.random.normal(noises, x.shape)
        grads = jax.vmap(gradient, (0, 0, 0, 0, None, 0))(
            x, given, spoilt, people["condition"], timestep, noise
        )
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(x, updates), state

    def score(x):
        return np.asarray(psnr(jax.jit(model.decode)(params, x), people["truth"], people["alpha"]))

    x, state = start, optimizer.init(start)
    figures = [np.median(score(x))]
    for i in range(100):
        x, state = step(x, state, jax.random.fold_in(jax.random.key(2), i))
        if i + 1 in (25, 50, 100):
            figures.append(np.median(score(x)))
    print(name, "dB after 0, 25, 50, 100 steps:", np.round(figures, 1), "round trip", np.median(score(truth)))
    assert figures[-1] > figures[0] + 3
