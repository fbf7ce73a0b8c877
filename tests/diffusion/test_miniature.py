"""The shipped weights: that they load, and that they can do what the pipeline uses them for."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.diffusion import build, load_miniature, miniature
from zero1a_jax.image.ops import psnr


@pytest.fixture(scope="module")
def loaded():
    return load_miniature()


@pytest.fixture(scope="module")
def people():
    """Held-out synthetic people as floats: portrait, own and target condition, truth and its alpha."""
    with np.load(Path(__file__).parent / "people.npz") as arrays:
        return {name: jnp.asarray(array, jnp.float32) / 255 for name, array in arrays.items()}


def test_weights_are_small_and_finite(loaded):
    config, params = loaded
    assert miniature.WEIGHTS.stat().st_size < 9.5e6
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        assert bool(jnp.isfinite(leaf).all()), path
    assert config.condition_size == 128


def test_what_it_does_with_new_people(loaded, people):
    """Novel views from noise by one evaluation, and the control with other people's portraits."""
    config, params = loaded
    functions = build(config)
    given = jax.jit(jax.vmap(functions.reference, (None, 0, 0)))(params, people["portrait"], people["own"])
    latents = jax.jit(functions.encode)(params, people["truth"])
    decode = jax.jit(functions.decode)

    def score(frames):
        return np.median(np.asarray(psnr(frames, people["truth"], people["alpha"])))

    round_trip, copy = score(decode(params, latents)), score(people["portrait"])
    assert round_trip > 28

    @jax.jit
    def first_guess(params, given):
        """The clean latents that one evaluation on pure noise implies."""
        noise = jax.random.normal(jax.random.key(0), latents.shape)
        timestep = config.train_steps - 1

        def one(x, g, c):
            return -functions.velocity(params, x[None], timestep, g, c[None])[0]

        return jax.vmap(one)(noise, given, people["condition"])

    made = score(decode(params, first_guess(params, given)))
    others = score(decode(params, first_guess(params, jax.tree.map(lambda x: jnp.roll(x, 1, 0), given))))
    assert made > copy + 2
    assert made > others + 2


def test_other_files_are_refused(tmp_path, loaded):
    with pytest.raises(ValueError, match="missing"):
        load_miniature(tmp_path / "none.safetensors")
    file = miniature.save_miniature(loaded[1], tmp_path / "copy.safetensors")
    again = load_miniature(file)[1]
    same = jax.tree.map(lambda a, b: bool((a == b).all()), loaded[1], again)
    assert all(jax.tree.leaves(same))
    from safetensors.numpy import load_file, save_file

    save_file(load_file(file), file, metadata={"config": "another"})
    with pytest.raises(ValueError, match="another config"):
        load_miniature(file)
