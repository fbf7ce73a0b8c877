"""A model behind frames of another size than its own."""

import copy
import types

import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import diffusion
from zero1a_jax.config import from_values
from zero1a_jax.sources import diffusions


@pytest.fixture
def model():
    """One of 8 pixels, whose latents are its frames and which says what size it was given."""

    def seen(params, frames, *rest):
        assert frames.shape[-3:] == (8, 8, 3)
        return frames

    return types.SimpleNamespace(frame_size=8, bars=np.ones(3), reference=seen, encode=seen, decode=seen)


@pytest.mark.parametrize("size", [4, 16, 20])
def test_the_model_sees_its_own_size_and_the_run_sees_the_frames(model, size):
    of_size = diffusion.resized(model, size)
    ramp = jnp.broadcast_to((jnp.arange(size) + 0.5)[:, None, None] / size, (2, size, size, 3))
    assert of_size.reference(None, ramp[0], None).shape == (8, 8, 3)
    latents = of_size.encode(None, ramp)
    np.testing.assert_allclose(latents[0, 2:-2, 0, 0], (np.arange(2, 6) + 0.5) / 8, atol=1e-3)
    back = of_size.decode(None, latents)
    assert back.shape == ramp.shape and of_size.frame_size == size
    np.testing.assert_allclose(back, ramp, atol=0.1)


def test_all_else_is_the_models(model):
    of_size = diffusion.resized(model, 16)
    assert of_size.bars is model.bars and copy.copy(of_size).bars is model.bars
    assert not hasattr(of_size, "velocity")  # score distillation asks for it
    assert diffusion.resized(model, 8) is model


def test_runs_of_a_size_share_one_program():
    config = from_values({"size": 256})
    one, other = (diffusions.load(config, "cpu")[0] for _ in range(2))
    assert one.frame_size == 256 and one.condition_size == diffusion.miniature_config().condition_size
    assert one == other and hash(one) == hash(other)
