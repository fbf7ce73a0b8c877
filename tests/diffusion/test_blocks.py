"""Blocks against independent numpy, float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from zero1a_jax.diffusion import blocks, motion


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(params, x, keys, heads):
    """Multi-head attention of tokens x [N, C] to tokens keys [M, C]."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    q, k, v = x @ p["to_q"]["kernel"], keys @ p["to_k"]["kernel"], keys @ p["to_v"]["kernel"]
    size = q.shape[-1] // heads
    out = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        out.append(softmax(q[:, part] @ k[:, part].T / np.sqrt(size)) @ v[:, part])
    return np.concatenate(out, -1) @ p["to_out"]["kernel"] + p["to_out"]["bias"]


def test_attention_reads_the_bank_where_told():
    rng = np.random.default_rng(0)
    x, bank = rng.normal(size=(2, 3, 5, 8)), rng.normal(size=(2, 7, 8))  # 2 elements of 3 frames
    module = blocks.Attention(2, 8)
    tokens = jnp.asarray(np.swapaxes(x, 0, 1).reshape(6, 5, 8), jnp.float32)
    params = module.init(jax.random.key(0), tokens)["params"]
    # Known only as the program runs, or as it is built; then those that do not read come first.
    for read in (jnp.array([1.0, 0.0]), np.array([0.0, 1.0]), np.ones(2), np.zeros(2)):
        out = module.apply({"params": params}, tokens, bank=jnp.asarray(bank, jnp.float32), read=read)
        for element, frame in np.ndindex(2, 3):
            own = x[element, frame]
            keys = np.concatenate([own, bank[element]]) if read[element] else own
            wanted = attention(params, own, keys, 2)
            np.testing.assert_allclose(out[2 * frame + element], wanted, atol=2e-5)


def test_cross_attention_shortcut_is_the_general_case():
    """Two equal context tokens give the same result as one."""
    module = blocks.CrossAttention(2, 8)
    x = jax.random.normal(jax.random.key(0), (3, 5, 8))
    context = jax.random.normal(jax.random.key(1), (3, 1, 4))
    params = module.init(jax.random.key(2), x, context)
    one, two = module.apply(params, x, context), module.apply(params, x, jnp.tile(context, (1, 2, 1)))
    np.testing.assert_allclose(np.broadcast_to(one, two.shape), two, atol=1e-6)


def test_feed_forward_uses_the_exact_gelu():
    module = blocks.FeedForward(2)
    x = jax.random.normal(jax.random.key(0), (4, 6)) * 2
    params = module.init(jax.random.key(1), x)["params"]
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    value, gate = np.split(np.asarray(x, np.float64) @ p["proj"]["kernel"] + p["proj"]["bias"], 2, -1)
    wanted = (value * (gate * 0.5 * (1 + erf(gate / np.sqrt(2))))) @ p["out"]["kernel"] + p["out"]["bias"]
    np.testing.assert_allclose(module.apply({"params": params}, x), wanted, atol=1e-5)


def test_norms_use_the_published_epsilon():
    x = 1e-3 * np.random.default_rng(0).normal(size=(1, 2, 2, 8))  # so small that epsilon shows
    for epsilon in (1e-5, 1e-6):
        module = blocks.group_norm(2, epsilon, "norm")
        out = module.apply(module.init(jax.random.key(0), x), jnp.asarray(x, jnp.float32))
        grouped = x.reshape(1, 4, 2, 4)
        mean, var = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
        np.testing.assert_allclose(
            out, ((grouped - mean) / np.sqrt(var + epsilon)).reshape(x.shape), atol=1e-4
        )


def test_fold_and_unfold():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    folded = blocks.fold(jnp.asarray(x), 2)
    assert folded.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(np.asarray(folded[1, 1, 2]).reshape(2, 2, 3), x[1, 2:4, 4:6])
    np.testing.assert_array_equal(blocks.unfold(folded, 2), x)


@pytest.mark.parametrize("height, width", [(6, 4), (5, 3), (6, 3)])
def test_upsample_repeats_pixels_as_pytorch_does(height, width):
    """Its "nearest" takes pixel floor(i h / n), also to a side that is not twice the one before."""
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 1)).astype(np.float32)
    module = blocks.Upsample(1)
    params = module.init(jax.random.key(0), jnp.asarray(x), height, width)["params"]
    identity = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    out = module.apply(
        {"params": {"conv": {"kernel": identity, "bias": params["conv"]["bias"]}}}, x, height, width
    )
    rows = {6: [0, 0, 1, 1, 2, 2], 5: [0, 0, 1, 1, 2]}[height]
    columns = {4: [0, 0, 1, 1], 3: [0, 0, 1]}[width]
    np.testing.assert_allclose(out[0, ..., 0], x[0, rows][:, columns, 0], atol=1e-6)


def test_time_embedding_is_cosines_then_sines():
    out = np.asarray(blocks.sinusoid(jnp.array([3]), 8), np.float64)[0]
    angles = 3 * 10000.0 ** (-np.arange(4) / 4)
    np.testing.assert_allclose(out, np.concatenate([np.cos(angles), np.sin(angles)]), atol=1e-6)


def test_motion_module_mixes_frames_place_by_place():
    module = motion.MotionModule(2, 2, 1, 4)
    x = jax.random.normal(jax.random.key(0), (6, 2, 2, 8))  # 3 frames of 2 elements
    params = module.init(jax.random.key(1), x, 3)
    np.testing.assert_array_equal(module.apply(params, x, 3), x)  # starts as the identity
    params["params"]["proj_out"]["kernel"] = jax.random.normal(jax.random.key(2), (8, 8))
    run = jax.jit(lambda x: module.apply(params, x, 3))
    base = run(x)
    np.testing.assert_allclose(run(x[:, ::-1]), base[:, ::-1], atol=1e-5)  # places are alike
    reach = np.abs(np.asarray(run(x.at[4, 0, 1].add(1.0)) - base)).max((1, 2, 3))
    assert (reach[0::2] > 1e-3).all()  # the last frame is seen by all frames of its element
    assert (reach[1::2] == 0).all()
    assert np.abs(np.asarray(run(x[jnp.array([2, 1, 0, 3, 4, 5])]))[4] - base[4]).max() > 1e-4  # order counts
