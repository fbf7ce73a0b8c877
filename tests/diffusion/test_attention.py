"""Attention in chunks and by the fused kernel, and the UNets in half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from zero1a_jax.diffusion import DiffusionConfig, attention, blocks, build


def softmax_product(q, k, v, seen):
    """Float64 numpy, one head of one element at a time."""
    out = np.empty(q.shape)
    for b, h in np.ndindex(q.shape[0], q.shape[2]):
        logits = q[b, :, h] @ k[b, :, h].T / np.sqrt(q.shape[-1])
        logits = np.where(seen[b], logits, -np.inf)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        out[b, :, h] = weights @ v[b, :, h] / weights.sum(-1, keepdims=True)
    return out


@pytest.mark.parametrize("limit", [2**26, 700, 100])  # everything at once; an element; a part of an element
@pytest.mark.parametrize("masked", [False, True])
def test_chunks_change_nothing(limit, masked, monkeypatch):
    monkeypatch.setattr(attention, "LOGITS", limit)
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(3, n, 2, 8)) for n in (12, 20, 20))
    seen = rng.uniform(size=(3, 20)) < 0.5 if masked else np.ones((3, 20), bool)
    q32, k32, v32 = (jnp.asarray(x, jnp.float32) for x in (q, k, v))
    mask = jnp.asarray(seen) if masked else None
    program = jax.make_jaxpr(lambda *x: attention.attend(*x))(q32, k32, v32, mask)
    out = attention.attend(q32, k32, v32, mask)
    np.testing.assert_allclose(out, softmax_product(q, k, v, seen), atol=3e-6)
    assert largest_logits(program.jaxpr) <= limit


def largest_logits(jaxpr):
    """The largest result of a matrix product anywhere in a program."""
    sizes = [0]
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            sizes.append(equation.outvars[0].aval.size)
        sizes += [largest_logits(inner) for inner in core.jaxprs_in_params(equation.params)]
    return max(sizes)


@pytest.fixture
def cuda(monkeypatch):
    """Programs are traced as on an NVIDIA GPU with cuDNN 9.10, which jax would look for on this machine."""
    from jax._src.cudnn import fused_attention_stablehlo

    monkeypatch.setattr(attention, "on_cuda", lambda: True)
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)


def shapes(*sizes, dtype=jnp.bfloat16):
    return [jax.ShapeDtypeStruct(size, dtype) for size in sizes]


def lowered(function, *arguments):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


def test_the_fused_kernel_is_chosen_where_it_fits(cuda):
    """The finest level of 512 x 512: 4096 own tokens and the bank's. Then what the kernel does not take."""
    q, k, v = shapes((16, 4096, 8, 40), (16, 8192, 8, 40), (16, 8192, 8, 40))
    text = lowered(lambda *x: attention.attend(*x), q, k, v)
    assert text.count("__cudnn$fmhaSoftmax") == 1 and "dot_general" not in text
    for q, k in [
        shapes((16, 256, 8, 160), (16, 512, 8, 160)),  # too wide a head
        shapes((4096, 16, 8, 40), (4096, 16, 8, 40)),  # too few keys: the frames of a motion module
        shapes((2, 4096, 8, 40), (2, 8192, 8, 40), dtype=jnp.float32),
    ]:
        text = lowered(lambda *x: attention.attend(*x), q, k, k)
        assert "__cudnn" not in text and "dot_general" in text
    program = jax.make_jaxpr(lambda *x: attention.attend(*x))(q, k, k)
    assert largest_logits(program.jaxpr) <= attention.LOGITS < 2 * 8 * 4096 * 8192


def test_a_reading_block_lowers_for_cuda(cuda):
    """The finest transformer block of the published size, guided: a kernel without the bank, one with it."""
    block = blocks.SpatialTransformer(8, 4, 32)
    x, context, bank = shapes((32, 64, 64, 320), (32, 1, 768), (2, 4096, 320))
    params = jax.eval_shape(block.init, jax.random.key(0), x, context)["params"]
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), params)
    read = np.array([0.0, 1.0])
    text = lowered(lambda p, *a: block.apply({"params": p}, *a, read), params, x, context, bank)
    calls = [line for line in text.splitlines() if "__cudnn$fmhaSoftmax" in line]
    assert ["16x4096x8x40" in line and "16x8192x8x40" in line for line in calls] == [False, True]
    with pytest.raises(ValueError, match="come first"):
        lowered(lambda p, *a: block.apply({"params": p}, *a, read[::-1]), params, x, context, bank)


@pytest.mark.slow
def test_a_whole_step_lowers_for_cuda(cuda):
    """One guided evaluation of the published size: 16 frames of 512 x 512 in bfloat16."""
    config = DiffusionConfig(dtype="bfloat16")
    functions = build(config)
    params = jax.eval_shape(functions.init, jax.random.key(0))
    rgb, video = shapes((512, 512, 3), (16, 512, 512, 3), dtype=jnp.float32)
    given = jax.eval_shape(functions.reference, params, rgb)
    latents = jax.ShapeDtypeStruct((16, 64, 64, 4), jnp.float32)

    def step(params, given, latents, conditions):
        return functions.velocity(params, latents, 500, given, conditions, guidance=3.5)

    program = jax.jit(step).trace(params, given, latents, video)
    text = program.lower(lowering_platforms=("cuda",)).as_text()
    # Two levels whose heads fit, 2 layers down and 3 up, with the bank and without.
    assert text.count("__cudnn$fmhaSoftmax") >= 2 and "2x8x8192x4096" not in text
    names = [equation.primitive.name for equation in equations(program.jaxpr.jaxpr)]
    calls = [name for name in names if "attention_fwd" in name]
    assert len(calls) == 2 * 2 * (2 + 3)


def equations(jaxpr):
    """All equations of a program, but not the inside of the fused attention."""
    for equation in jaxpr.eqns:
        yield equation
        if "attention_fwd" not in equation.primitive.name:
            for inner in core.jaxprs_in_params(equation.params):
                yield from equations(inner)
