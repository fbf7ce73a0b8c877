"""Frames of any height and width that the autoencoder divides, square or not."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.diffusion import build, load_miniature, unet, vae
from zero1a_jax.image.ops import psnr


def run(function, **options):
    return jax.jit(functools.partial(function, **options))


@pytest.fixture(scope="module")
def wide():
    """The held-out people in frames of 128 x 192: what their pictures show at the edge goes on."""
    with np.load(Path(__file__).parent / "people.npz") as arrays:
        found = {name: jnp.asarray(array, jnp.float32) / 255 for name, array in arrays.items()}
    beside = ((0, 0), (0, 0), (32, 32), (0, 0))
    return {name: jnp.pad(array, beside[: array.ndim], mode="edge") for name, array in found.items()}


@pytest.mark.slow
def test_the_miniature_takes_a_wide_clip(wide):
    """A refresh at 16 x 24 latents, with the trained weights, which were made for 16 x 16."""
    config, params = load_miniature()
    functions, options = build(config), dict(steps=4, strength=0.5)
    frames = jnp.stack([wide["portrait"][0], wide["truth"][0], wide["truth"][0]])
    conditions = jnp.stack([wide["own"][0], wide["condition"][0], wide["condition"][0]])
    given = run(functions.reference)(params, wide["portrait"][0], wide["own"][0])
    latents = run(functions.encode)(params, frames)
    noisy = run(functions.invert, **options)(params, latents, given, conditions)
    back = run(functions.denoise, **options)(params, noisy, given, conditions)
    out = run(functions.decode)(params, back)
    assert latents.shape == noisy.shape == back.shape == (3, 16, 24, config.latent_channels)
    assert out.shape == frames.shape == (3, 128, 192, 3) and bool(jnp.isfinite(out).all())
    assert float(jnp.linalg.norm(noisy - latents)) > 0.5 * float(jnp.linalg.norm(latents))
    assert float(jnp.linalg.norm(back - latents)) < 0.05 * float(jnp.linalg.norm(latents))
    assert float(psnr(out, frames, jnp.ones(frames.shape[:3])).min()) > 30


@pytest.mark.slow
def test_new_views_are_as_good_in_a_wide_frame(wide):
    """From noise by one step, as tests/diffusion/test_miniature.py does in square frames (21.8 dB)."""
    config, params = load_miniature()
    functions = build(config)

    @jax.jit
    def view(params, rgb, own, condition):
        noise = jax.random.normal(jax.random.key(0), (1, 16, 24, config.latent_channels))
        given = functions.reference(params, rgb, own)
        out = functions.denoise(params, noise, given, condition[None], steps=1)
        return functions.decode(params, out)[0]

    people = zip(wide["portrait"], wide["own"], wide["condition"], strict=True)
    made = jnp.stack([view(params, *person) for person in people])
    scores = [np.median(psnr(x, wide["truth"], wide["alpha"])) for x in (made, wide["portrait"])]
    print(f"new views at 128 x 192: {scores[0]:.1f} dB, the portrait itself {scores[1]:.1f} dB")
    assert scores[0] > scores[1] + 5


def turned_model(params, places):
    """The parameters of the model that does to transposed pictures what `params` do to pictures.

    places: patches a side of the image encoder, whose position table goes row by row.
    """

    def turn(path, leaf):
        names = [part.key for part in path]
        if names[-1] == "kernel" and leaf.ndim == 4 or names[-1] == "position":
            return jnp.swapaxes(leaf, 0, 1)
        if "position_embedding" in names:
            table = leaf[1:].reshape(places, places, -1)
            return jnp.concatenate([leaf[:1], jnp.swapaxes(table, 0, 1).reshape(places**2, -1)])
        return leaf

    return jax.tree_util.tree_map_with_path(turn, params)


@pytest.fixture
def even(make_config):
    """A tiny model without folded patches, so that turning its pictures is turning its kernels."""
    return make_config(
        vae_patch=1,
        vae_channels=(8, 8),
        pose_patch=1,
        pose_channels=(8, 8, 8),
        pose_kernels=(4, 4, 4),
        pose_strides=(2, 2, 2),
        pose_attention=True,
        pose_heads=2,
        pose_head_channels=4,
        pose_norm="batch",
        unet_channels=(8, 8, 16),
        down_attention=(True, False, False),
        up_attention=(True, False, False),
        motion_levels=(True, False, False),
        position_table=True,
        reference_pose=True,
        precondition=True,
    )


def test_height_and_width_are_never_mixed_up(even, make_params, quick):
    """Transposed kernels on transposed pictures give the transposed result, at 5 x 7 latents: odd twice over.

    Reference, motion, pose features, windows (5 frames in windows of 4) and both ways of the autoencoder.
    """
    params, functions = make_params(even), build(even)
    keys = jax.random.split(jax.random.key(1), 4)
    rgb, frames = (jax.random.uniform(keys[i], (*lead, 10, 14, 3)) for i, lead in enumerate([(), (5,)]))
    own, conditions = (jax.random.uniform(keys[i], (*lead, 40, 56, 3)) for i, lead in [(2, ()), (3, (5,))])

    def path(params, rgb, own, frames, conditions):
        given = functions.reference(params, rgb, own)
        latents = functions.encode(params, frames)
        velocity = functions.velocity(params, latents, 500, given, conditions, guidance=2.0)
        return latents, velocity, functions.decode(params, velocity)

    def turn(x):
        return jnp.swapaxes(x, -3, -2)

    run = quick(path)
    found = run(params, rgb, own, frames, conditions)
    assert [x.shape for x in found] == [(5, 5, 7, 4), (5, 5, 7, 4), (5, 10, 14, 3)]
    turned = turned_model(params, even.clip_size // even.clip_patch)
    other = run(turned, *map(turn, (rgb, own, frames, conditions)))
    for one, two in zip(found, other, strict=True):
        np.testing.assert_allclose(turn(two), one, atol=2e-4 * float(jnp.abs(one).max()))
    plain = run(params, *map(turn, (rgb, own, frames, conditions)))
    assert float(jnp.abs(turn(plain[1]) - found[1]).max()) > 1e-2  # the kernels have directions


def test_the_nominal_size_changes_nothing(make_config, make_params):
    """A model made for 32 x 32 frames and one made for 64 x 64 are one program, here for 64 x 40."""
    small = make_config(reference_pose=True)
    frames = jnp.zeros((6, 64, 40, 3))

    def path(params, frames, config):
        functions = build(config)
        given = functions.reference(params, frames[0], frames[0])
        latents = functions.encode(params, frames)
        return functions.decode(params, functions.denoise(params, latents, given, frames, steps=2))

    one, two = (
        str(jax.make_jaxpr(functools.partial(path, config=config))(make_params(small), frames))
        for config in (small, dataclasses.replace(small, frame_size=64))
    )
    assert one == two


def test_the_portrait_may_have_another_size(make_config, make_params):
    functions = build(make_config())

    def path(params, rgb, latents, conditions):
        return functions.velocity(params, latents, 500, functions.reference(params, rgb), conditions)

    shapes = [(48, 16, 3), (2, 3, 5, 4), (2, 24, 40, 3)]
    out = jax.eval_shape(path, make_params(functions.config), *map(jnp.zeros, shapes))
    assert out.shape == (2, 3, 5, 4)


def test_a_position_table_is_drawn_out():
    table = jnp.arange(4.0)[:, None, None] + jnp.zeros((4, 4, 2))
    assert unet.stretched(table, 4, 4) is table
    wide = np.asarray(unet.stretched(table, 4, 6))
    np.testing.assert_allclose(wide, np.arange(4.0)[:, None, None] * np.ones((4, 6, 2)), atol=1e-6)
    tall = np.asarray(unet.stretched(table, 8, 4))[:, 0, 0]
    np.testing.assert_allclose(tall[1:-1], np.arange(0.25, 3, 0.5), atol=1e-6)  # ends stay within the table


def test_chunks_follow_the_frames_own_size(make_config, make_params, monkeypatch):
    config = make_config()
    monkeypatch.setattr(vae, "PIXELS", 2 * 8 * 12)  # two frames of 32 x 48 in patches of 4
    code = jax.make_jaxpr(lambda p, x: vae.decode(p, vae.encode(p, x, config), config))
    program = code(make_params(config)["vae"], jnp.zeros((4, 32, 48, 3)))
    loops = [equation.params["length"] for equation in program.eqns if equation.primitive.name == "scan"]
    assert loops == [2, 2]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f, p: f.encode(p, jnp.zeros((2, 32, 36, 3))), r"^frames has 32 x 36 pixels; .* 8 divides\.$"),
        (lambda f, p: f.encode(p, jnp.zeros((2, 0, 32, 3))), r"frames has 0 x 32 pixels"),
        (lambda f, p: f.encode(p, jnp.zeros((32, 32, 3))), r"frames has shape .* wants \[T, H, W, 3\]\.$"),
        (lambda f, p: f.reference(p, jnp.zeros((30, 32, 3)), None), "rgb has 30 x 32 pixels"),
        (
            lambda f, p: f.reference(p, jnp.zeros((40, 32, 3)), jnp.zeros((32, 40, 3))),
            r"condition has shape \(32, 40, 3\); this model wants \[40, 32, 3\], 8 .* 5 x 4 latents\.$",
        ),
        (lambda f, p: f.decode(p, jnp.zeros((2, 4, 6, 3))), r"latents has shape .* wants \[T, h, w, 4\]\.$"),
        (
            lambda f, p: f.velocity(p, jnp.zeros((2, 4, 6, 4)), 5, None, jnp.zeros((2, 48, 32, 3))),
            r"conditions has shape .* wants \[2, 32, 48, 3\], 8 pixels .* 4 x 6 latents\.$",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_named(call, message, make_config, make_params):
    config = make_config(reference_pose=True)
    with pytest.raises(ValueError, match=message):
        call(build(config), make_params(config))
