"""Inversion by the library's own loops: a toy network with known answers, and the trained miniature."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.diffusion import load_miniature, sample, schedule
from zero1a_jax.pretraining import evaluate as pretrain_evaluate

PEOPLE = Path(__file__).parent / "people.npz"


@pytest.mark.parity
def test_the_toy_network_of_the_fixtures(reference, counts):
    """In float64: the published tables to 1e-9, and a round trip that gains with every iteration."""
    known = reference("aniportrait/scheduler.npz")
    for steps in counts(known, r"toy_net_(\d+)_implicit_K\d+_skip0_zT"):
        tables = schedule.sampler_steps(schedule.alpha_bars(), steps)
        row, errors = known["roundtrip_rows"].tolist().index(f"net_{steps}"), []
        for iterations in counts(known, rf"toy_net_{steps}_implicit_K(\d+)_skip0_zT"):
            clean, noisy, back = toy_round_trip(known, tables, iterations)
            name = f"toy_net_{steps}_implicit_K{iterations}_skip0"
            assert np.abs(noisy - known[f"{name}_zT"]).max() <= 1e-9
            assert np.abs(back - known[f"{name}_x0rec"]).max() <= 1e-9
            errors.append(np.linalg.norm(back - clean) / np.linalg.norm(clean))
            column = known["roundtrip_cols"].tolist().index(f"implicit_K{iterations}")
            assert abs(errors[-1] - known["roundtrip_relerr"][row, column]) <= 1e-9
        assert errors == sorted(errors, reverse=True)


def toy_round_trip(known, tables, iterations):
    """The toy network's data, what our inversion makes of it and what our denoising makes of that."""
    with jax.enable_x64(True):
        inner, outer, bias = (jnp.asarray(known[f"toy_{name}"]) for name in ("W1", "W2", "b1"))
        clean = jnp.asarray(known["toy_net_x0"])

        def velocity(x, timestep):
            return jnp.tanh(x @ inner.T + bias + jnp.sin(timestep / 200.0)) @ outer.T

        @jax.jit
        def round_trip(clean):
            noisy = sample.invert(velocity, clean, tables, iterations)
            return noisy, sample.denoise(velocity, noisy, tables)

        noisy, back = round_trip(clean)
        assert noisy.dtype == jnp.float64
        return np.asarray(clean), np.asarray(noisy), np.asarray(back)


def test_the_tables_follow_the_latents():
    """float32 where the latents have less, so that bfloat16 latents do not round the angles."""
    tables = schedule.sampler_steps(schedule.alpha_bars(), 4)
    out = sample.denoise(lambda x, t: 0.1 * x, jnp.ones(3, jnp.float32), tables)
    assert out.dtype == jnp.float32
    assert sample._arrays(tables, jnp.bfloat16)[1].dtype == jnp.float32


@pytest.mark.slow
def test_the_miniature_by_iterations():
    """Relative error in latents and PSNR against the autoencoder's own round trip, held-out people."""
    with np.load(PEOPLE) as arrays:
        people = {name: jnp.asarray(array, jnp.float32) / 255 for name, array in arrays.items()}
    run = pretrain_evaluate._Runner(*load_miniature())
    given = run.reference(people["portrait"], people["own"])
    latents = run.encode(people["truth"])
    found = pretrain_evaluate.inversion(run, given, people["condition"], latents, iterations=(1, 2, 3, 5))
    for iterations, figures in found.items():
        print(f"K = {iterations}: {figures}")
    errors = [figures["relative_error"] for figures in found.values()]
    psnrs = [figures["psnr"] for figures in found.values()]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.02
    assert psnrs == sorted(psnrs) and psnrs[-1] > 40
