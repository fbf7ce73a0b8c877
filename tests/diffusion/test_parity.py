"""Against the published code's own numbers; tolerances from the fixture's README."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.converters import aniportrait
from zero1a_jax.diffusion import build, image_encoder, model, official, vae
from zero1a_jax.diffusion.denoising_unet import DenoisingUNet
from zero1a_jax.diffusion.reference_unet import ReferenceUNet

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("exact")]


def images(x):
    """[b, c, h, w] -> [b, h, w, c]."""
    return np.moveaxis(x, 1, -1)


def video(x):
    """[b, c, f, h, w] -> [b, f, h, w, c]."""
    return np.moveaxis(x, 1, -1)


def largest(a, b) -> float:
    return float(np.abs(np.asarray(a, np.float64) - b).max())


def test_every_key_has_one_place(published):
    like = jax.eval_shape(lambda key: model.init(published.config, key), jax.random.key(0))
    for part, tree in published.params.items():
        aniportrait.check(tree, like[part], part)
    with pytest.raises(ValueError, match="missing"):
        aniportrait.check({"conv": {}}, {"conv": {"bias": np.zeros(1)}})


def test_autoencoder_and_image_encoder(quick, published):
    c, params = published.config, published.params
    given, expected = published.arrays("inputs"), published.arrays("vae_clip")
    run = quick(lambda p, x: vae.moments(p, x, c))
    mean, logvar = run(params["vae"], (images(given["ref_image"]) + 1) / 2)
    assert largest(mean, images(expected["enc_mean"])) <= 3e-5
    assert largest(logvar, images(expected["enc_logvar"])) <= 3e-5
    raw = images(expected["dec_in_scaled"]) / published.settings["vae"]["scaling_factor"]
    frames = quick(lambda p, x: vae.reconstruct(p, x, c))(params["vae"], raw)
    assert largest(2 * frames - 1, images(expected["dec_out"])) <= 3e-5
    embedding = quick(lambda p, x: image_encoder.embed(p, x, c))(
        params["image_encoder"], images(given["clip_pixel_values"])
    )
    assert largest(embedding, expected["clip_image_embeds"]) <= 3e-5


@pytest.mark.parametrize(
    "name, guided, quirks",
    [("outputs_cfg", True, False), ("outputs_cfg", True, True), ("outputs_nocfg", False, False)],
)
def test_one_evaluation(quick, published, name, guided, quirks):
    c, params = published.config, published.params
    if quirks:
        c = official(c)
    given, expected = published.arrays("inputs"), published.arrays(name)
    landmarks = (video(given["pose_cond"])[0] + 1) / 2
    context = jnp.asarray(expected["image_embeds"])
    batch = 2 if guided else 1
    latents = np.repeat(video(given["latents"]), batch, 0)
    timestep = np.full(batch, given["cfg_t" if guided else "nocfg_t"])
    read = jnp.array([0.0, 1.0]) if guided else jnp.ones(1)

    def run(params):
        pose = model.pose_features(c, params, landmarks)
        bank = ReferenceUNet(c).apply(
            {"params": params["reference"]}, images(expected["ref_image_latents"]), context
        )
        reference = model.Reference(
            tuple(jnp.repeat(b, batch, 0) for b in bank), jnp.repeat(context, batch, 0)
        )
        features = [jnp.repeat(f[None], batch, 0) for f in pose]
        return pose, bank, model.predict(c, params, latents, timestep, reference, pose=features, read=read)

    pose, bank, noise = quick(run)(params)
    suffix = "_official_quirks" if quirks else ""
    for i, feature in enumerate(pose):
        wanted = video(expected[f"pose_fea{suffix}.{i}"])[0]
        assert largest(feature, wanted) <= 5e-5 * np.abs(wanted).max()
    if quirks:
        assert largest(noise, video(expected["noise_pred_official_quirks"])) <= 1e-4
        return
    names = [key for key in expected if key.startswith("bank.")]
    order = [key for part in ("down_", "mid_", "up_") for key in names if part in key]
    assert len(order) == len(bank)
    for key, tokens in zip(order, bank, strict=True):
        assert largest(tokens[0], expected[key][-1]) <= 5e-5 * np.abs(expected[key]).max(), key
    wanted = video(expected["noise_pred_f64"])
    assert largest(noise, wanted) <= 3e-5
    assert np.sqrt(np.mean((np.asarray(noise) - wanted) ** 2)) <= 4e-6


def test_blocks(quick, published):
    """The denoiser block by block, so that a difference shows where it begins."""
    c, params = published.config, published.params
    given, expected = published.arrays("inputs"), published.arrays("outputs_nocfg")
    levels = len(c.unet_channels)
    pose = [jnp.asarray(video(expected[f"pose_fea.{i}"])) for i in range(levels + 1)]
    names = [key for key in expected if key.startswith("bank.")]
    order = [key for part in ("down_", "mid_", "up_") for key in names if part in key]
    bank = [jnp.asarray(expected[key]) for key in order]
    context = jnp.asarray(expected["image_embeds"])

    @quick
    def run(params):
        return DenoisingUNet(c).apply(
            {"params": params},
            video(given["latents"]),
            given["nocfg_t"][None],
            context,
            bank,
            jnp.ones(1),
            pose,
            capture_intermediates=True,
            mutable=["intermediates"],
        )[1]["intermediates"]

    seen = run(params["denoiser"])
    assert largest(seen["time_embedding"]["__call__"][0], expected["den.time_embedding"]) <= 5e-5
    ends = [f"{way}_blocks.{i}" for way in ("down", "up") for i in (0, levels - 1)]
    for key in ("mid_block", *ends):
        out = seen["body"][key.replace(".", "_")]["__call__"][0]
        out = out[0] if isinstance(out, tuple) else out
        wanted = video(expected[f"den.{key}"])[0]
        assert largest(out, wanted) <= 5e-5 * np.abs(wanted).max(), key


@pytest.mark.parametrize("name", ["long_clean", "long_official"])
def test_long_video(quick, published, name):
    """The pipeline over overlapping windows, from the same first latents, step by step."""
    c, params, e2e = published.config, published.params, published.settings["e2e"]
    if "official" in name:
        c = official(c)
    given, expected = published.arrays("inputs"), published.arrays("e2e")
    count = e2e["frames"]
    landmarks = given["pose_images_uint8"][:count].astype(np.float32) / 255

    # The pipeline gives CLIP its own resized pixels, so the context is set from them.
    @quick
    def run(params, pixels, image, x):
        context = image_encoder.embed(params["image_encoder"], pixels, c)[:, None]
        latents = vae.encode(params["vae"], image, c)
        bank = ReferenceUNet(c).apply({"params": params["reference"]}, latents, context)
        reference, guidance = model.Reference(tuple(bank), context), published.settings["guidance_scale"]
        return build(c).denoise(params, x, reference, landmarks, steps=e2e["steps"], guidance=guidance)

    pixels, image = images(given["clip_pixel_values"]), (images(given["ref_image"]) + 1) / 2
    out = run(params, pixels, image, video(expected[f"{name}.latents0"])[0])
    wanted = video(expected[f"{name}.latents_after_step"][-1])[0]
    assert largest(out, wanted) <= (5e-4 if "official" in name else 1e-4)
    if name == "long_clean":
        frames = quick(lambda p, x: build(c).decode(p, x))(params, out)
        assert largest(frames, video(expected[f"{name}.video"])[0]) <= 5e-5
