"""The UNets in half precision: what is computed in which type, and how near the result stays."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from zero1a_jax.diffusion import blocks, build, cast, load_miniature, model, motion, vae
from zero1a_jax.diffusion.denoising_unet import DenoisingUNet
from zero1a_jax.diffusion.reference_unet import ReferenceUNet


@pytest.fixture(scope="module")
def half(make_config, make_params):
    """(bfloat16 config, float32 parameters) of a tiny model."""
    config = make_config(dtype="bfloat16", precondition=True)
    return config, make_params(make_config(precondition=True))


def inputs(config, frames=3):
    keys = jax.random.split(jax.random.key(1), 3)
    side, size = config.latent_size, config.condition_size
    return (
        jax.random.normal(keys[0], (frames, side, side, config.latent_channels)),
        jax.random.uniform(keys[1], (frames, size, size, 3)),
        jax.random.uniform(keys[2], (config.frame_size, config.frame_size, 3)),
    )


def products(jaxpr):
    """The types of the operands of all matrix products and convolutions."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            found.append(str(jnp.result_type(*(v.aval.dtype for v in equation.invars))))
        for inner in core.jaxprs_in_params(equation.params):
            found += products(inner)
    return found


def test_only_the_time_embedding_and_the_end_are_float32(half):
    """A forgotten cast would promote everything behind it."""
    config, params = half
    params = cast(config, params)
    latents, conditions, rgb = inputs(config)
    given = jax.eval_shape(build(config).reference, params, rgb)
    assert {str(leaf.dtype) for leaf in given.bank} == {"bfloat16"}
    pose = jax.eval_shape(functools.partial(model.pose_features, config), params, conditions)
    pose = [jnp.zeros((2, *leaf.shape)) for leaf in pose]
    bank = [jax.ShapeDtypeStruct((2, *leaf.shape[1:]), leaf.dtype) for leaf in given.bank]
    program = jax.make_jaxpr(
        lambda p, bank: DenoisingUNet(config).apply(
            {"params": p},
            jnp.stack([latents] * 2),
            jnp.ones(2),
            jnp.ones((2, 1, 8)),
            bank,
            np.array([0.0, 1.0]),
            pose,
        )
    )(params["denoiser"], bank)
    types = products(program.jaxpr)
    assert types.count("float32") == 3 and types.count("bfloat16") == len(types) - 3 > 30
    assert program.out_avals[0].dtype == jnp.float32
    context = jnp.ones((1, 1, 8))
    program = jax.make_jaxpr(lambda p: ReferenceUNet(config).apply({"params": p}, latents[:1], context))
    types = products(program(params["reference"]).jaxpr)
    assert types.count("float32") == 2


def test_layers_in_bfloat16_are_near_float32(quick):
    """A resnet, a transformer that reads a bank, and a motion module, from the same numbers."""
    rng = np.random.default_rng(2)

    def draw(leaf):
        return jnp.asarray(rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1])), jnp.float32)

    sizes = ((4, 4, 4, 16), (4, 64), (4, 1, 8), (2, 16, 16))
    x, time, context, bank = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in sizes)
    layers = (blocks.Resnet(16, 4), blocks.SpatialTransformer(2, 2, 4), motion.MotionModule(2, 1, 2, 4))
    inputs = ((x, time), (x, context), (x, 2))
    params = []
    for layer, given in zip(layers, inputs, strict=True):
        made = jax.eval_shape(lambda layer=layer, given=given: layer.init(jax.random.key(0), *given))
        params.append(jax.tree.map(draw, made["params"]))

    def run(params, x, context, bank):
        resnet, spatial, moves = (layer.bind({"params": p}) for layer, p in zip(layers, params, strict=True))
        tokens, _ = spatial(resnet(x, time), context, bank, np.array([0.0, 1.0]))
        return moves(tokens, 2)

    exact = quick(run)(params, x, context, bank)
    for dtype, bound in (("float16", 3e-3), ("bfloat16", 2e-2)):
        out = quick(run)(*(blocks.cast(tree, dtype) for tree in (params, x, context, bank)))
        assert out.dtype == dtype
        error = jnp.linalg.norm(out - exact) / jnp.linalg.norm(exact)
        assert bound / 30 < error < bound


def test_parameters_are_cast_once(half):
    config, params = half
    small = cast(config, params)
    types = {name: {str(leaf.dtype) for leaf in jax.tree.leaves(tree)} for name, tree in small.items()}
    assert types.pop("denoiser") == types.pop("reference") == {"bfloat16"}
    assert set(map(frozenset, types.values())) == {frozenset({"float32"})}
    again = cast(config, small)
    assert all(a is b for a, b in zip(*map(jax.tree.leaves, (small, again)), strict=True))


def test_the_type_is_not_in_the_name_of_weights(make_config):
    assert repr(make_config(dtype="bfloat16")) == repr(make_config())
    with pytest.raises(ValueError, match="float64"):
        make_config(dtype="float64")


def test_frames_are_coded_in_chunks(quick, half, monkeypatch):
    config, params = half
    frames = jax.random.uniform(jax.random.key(0), (6, 32, 32, 3))

    def code(params, frames):
        latents = vae.encode(params, frames, config)
        return latents, vae.decode(params, latents, config)

    whole = quick(code)(params["vae"], frames)
    monkeypatch.setattr(vae, "PIXELS", 4 * 8 * 8)  # 4 frames would fit, but 6 divide by 3
    program = jax.make_jaxpr(lambda *x: code(*x))(params["vae"], frames)
    loops = [equation.params["length"] for equation in program.eqns if equation.primitive.name == "scan"]
    assert loops == [2, 2]
    for a, b in zip(quick(lambda *x: code(*x))(params["vae"], frames), whole, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_miniature_in_bfloat16():
    """The trained miniature: what half precision costs, in decibels and in the distance of latents."""
    config, params = load_miniature()
    latents, conditions, rgb = inputs(config, frames=4)
    frames = jnp.stack([rgb] * 4)
    results = {}
    for dtype in ("float32", "bfloat16"):
        functions = build(dataclasses.replace(config, dtype=dtype))

        @jax.jit
        def run(params, functions=functions):
            given = functions.reference(params, rgb, conditions[0])
            start = functions.encode(params, frames)
            noisy = functions.invert(params, start, given, conditions, steps=4, strength=0.6, iterations=1)
            out = functions.denoise(params, noisy, given, conditions, steps=4, strength=0.6, guidance=2.0)
            return out, functions.decode(params, out)

        results[dtype] = run(params)
    (latents, images), (near, pictures) = results["float32"], results["bfloat16"]
    error = float(jnp.linalg.norm(near - latents) / jnp.linalg.norm(latents))
    psnr = float(-10 * jnp.log10(jnp.mean((images - pictures) ** 2)))
    print(f"bfloat16 against float32: {100 * error:.2f} % of the latents' norm, {psnr:.1f} dB after decoding")
    assert error < 0.05 and psnr > 35
