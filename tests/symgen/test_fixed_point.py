"""A dataset update with the trained miniature: what inversion and denoising do to the frames, by guidance."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import diffusion, symgen
from zero1a_jax.image.ops import psnr

PEOPLE = Path(__file__).parents[1] / "diffusion" / "people.npz"
WHITE = jnp.ones(3)


@dataclasses.dataclass(frozen=True)
class Refresh:
    """8 steps to pure noise; inverted without guidance, as by default."""

    guidance: float | jax.Array
    inversion_iterations: int
    inversion: bool = True
    strength: float = 1.0
    inversion_steps: int = 8
    inversion_guidance: float = 1.0
    denoise_steps: int = 8
    noise_guidance: float = 1.0


@pytest.mark.slow
def test_an_update_keeps_the_frames_without_guidance_and_changes_them_with_it():
    """At guidance 1 and 6 fixed-point iterations: to 50 dB what the autoencoder alone makes of them."""
    with np.load(PEOPLE) as arrays:
        people = {name: jnp.asarray(array[:1], jnp.float32) / 255 for name, array in arrays.items()}
    config, params = diffusion.load_miniature()
    model = diffusion.build(config)
    frames, alpha, conditions = (people[name] for name in ("truth", "alpha", "condition"))

    @jax.jit
    def update(params, guidance):
        reference = model.reference(params, people["portrait"][0], people["own"][0])
        config = Refresh(guidance, 6)
        refreshed, _, reason = symgen.refresh(
            model,
            params,
            reference,
            frames,
            alpha,
            conditions,
            key=jax.random.key(0),
            background=WHITE,
            config=config,
        )
        return refreshed, reason, model.decode(params, model.encode(params, frames))

    kept, reason, round_trip = update(params, jnp.float32(1.0))
    moved, _, _ = update(params, jnp.float32(3.5))
    through = float(psnr(round_trip, frames)[0])
    to_round_trip, to_frames = (float(psnr(kept, image)[0]) for image in (round_trip, frames))
    changed = float(psnr(moved, round_trip)[0])
    print(
        f"guidance 1: {to_round_trip:.1f} dB to the round trip, {to_frames:.2f} to the frames, which "
        f"the autoencoder alone keeps to {through:.2f}; guidance 3.5: {changed:.1f} dB"
    )
    assert reason == symgen.ACCEPTED
    assert to_round_trip > 50 and to_frames > through - 0.3
    assert changed < to_round_trip - 15
