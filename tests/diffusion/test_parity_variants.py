"""More of the published code's numbers: short pipelines by steps, every block, each quirk alone."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.diffusion import build, image_encoder, model, schedule, vae
from zero1a_jax.diffusion.denoising_unet import DenoisingUNet
from zero1a_jax.diffusion.reference_unet import ReferenceUNet

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("exact")]
OFFICIAL = dict(pose_norm="batch", pose_range=(-1.0, 509.0), bank_float16=True)


def last(x):
    """[b, c, ...] -> [b, ..., c]."""
    return np.moveaxis(x, 1, -1)


def largest(a, b) -> float:
    return float(np.abs(np.asarray(a, np.float64) - b).max())


@pytest.mark.parametrize("name", ["short_clean", "short_official"])
def test_short_video(quick, published, name):
    """The pipeline over one window: guided predictions and latents after every step, and the frames."""
    c, params, e2e = published.config, published.params, published.settings["e2e"]
    count = e2e["short_frames"]
    c = dataclasses.replace(c, window=count, overlap=0, **(OFFICIAL if "official" in name else {}))
    given, expected = published.arrays("inputs"), published.arrays("e2e")
    landmarks = given["pose_images_uint8"][:count].astype(np.float32) / 255
    run = build(c)

    @quick
    def reference(p, pixels, image):
        context = image_encoder.embed(p["image_encoder"], pixels, c)[:, None]
        bank = ReferenceUNet(c).apply({"params": p["reference"]}, vae.encode(p["vae"], image, c), context)
        return model.Reference(tuple(bank), context)

    pixels, image = last(expected["short.clip_pixel_values"]), (last(given["ref_image"]) + 1) / 2
    shown = reference(params, pixels, image)
    guidance = published.settings["guidance_scale"]
    velocity = quick(lambda p, x, t, r: run.velocity(p, x, t, r, landmarks, guidance=guidance))
    x = last(expected[f"{name}.latents0"])[0]
    tables = schedule.sampler_steps(schedule.alpha_bars(), e2e["steps"])
    for i, (t, cos, sin) in enumerate(zip(*tables, strict=True)):
        x = schedule.step(x, np.asarray(velocity(params, x, t, shown)), cos, sin).astype(np.float32)
        wanted = last(expected[f"{name}.latents_after_step"][i])[0]
        assert largest(x, wanted) <= (5e-4 if "official" in name else 1e-4), i
    frames = quick(run.decode)(params, x)
    assert largest(frames, last(expected[f"{name}.video"])[0]) <= (5e-4 if "official" in name else 5e-5)


def block_of(seen: dict, name: str):
    """A block's output by its published name, [F, h, w, C]."""
    parts, node = name.split("."), seen["body"]
    while parts:
        path = parts.pop(0)
        node = node[f"{path}_{parts.pop(0)}" if parts and parts[0].isdigit() else path]
    out = node["__call__"][0]
    return out[0] if isinstance(out, tuple) else out


def test_every_block_and_each_quirk_alone(quick, published):
    c, params = published.config, published.params
    given, expected = published.arrays("inputs"), published.arrays("outputs_nocfg")
    names = [key for key in expected if key.startswith("bank.")]
    order = [key for part in ("down_", "mid_", "up_") for key in names if part in key]
    bank = [jnp.asarray(expected[key]) for key in order]
    levels = range(len(c.unet_channels))
    pose = [jnp.asarray(last(expected[f"pose_fea.{i}"])) for i in (*levels, len(levels))]
    landmarks = (last(given["pose_cond"])[0] + 1) / 2
    own = dataclasses.replace(c, pose_norm="batch")
    statistics = [f[None] for f in quick(lambda p: model.pose_features(own, p, landmarks))(params)]
    rounded = [tokens.astype(jnp.float16).astype(jnp.float32) for tokens in bank]

    @quick
    def run(params, bank, pose):
        return DenoisingUNet(c).apply(
            {"params": params},
            last(given["latents"]),
            given["nocfg_t"][None],
            jnp.asarray(expected["image_embeds"]),
            bank,
            jnp.ones(1),
            pose,
            capture_intermediates=True,
            mutable=["intermediates"],
        )

    velocity, seen = run(params["denoiser"], bank, pose)
    assert largest(velocity, last(expected["noise_pred_f64"])) <= 3e-5
    # What a down block gives before the pose is added is its own output; the first convolution's likewise.
    blocks = [key for key in expected if key.startswith("den.") and "time" not in key]
    wanted = {f"den.{way}_blocks.{i}" for way in ("down", "up") for i in levels}
    assert wanted | {"den.conv_in", "den.mid_block"} <= set(blocks)
    for key in blocks:
        wanted = last(expected[key])[0]
        out = block_of(seen["intermediates"], key.removeprefix("den."))
        assert largest(out, wanted) <= 5e-5 * np.abs(wanted).max(), key
    variants = {
        "noise_pred_bank_fp16": (rounded, pose, 3e-5),
        "noise_pred_pose_bn_batchstats": (bank, statistics, 1e-4),
    }
    for key, (tokens, features, bar) in variants.items():
        wanted = last(expected[key])
        assert largest(run(params["denoiser"], tokens, features)[0], wanted) <= bar, key
        assert largest(velocity, wanted) > 1e-4  # the quirk shows


def test_image_encoder_before_the_projection(quick, published):
    c, params = published.config, published.params
    pixels = last(published.arrays("inputs")["clip_pixel_values"])
    tower = image_encoder._tower(c)
    out = quick(lambda p, x: tower.apply({"params": p}, x))(params["image_encoder"]["tower"], pixels)
    assert largest(out.last_hidden_state, published.arrays("vae_clip")["clip_last_hidden"]) <= 3e-5


def test_windows(published):
    expected, e2e = published.arrays("e2e"), published.settings["e2e"]
    windows = schedule.windows(e2e["frames"], e2e["context_frames"], e2e["context_overlap"])
    np.testing.assert_array_equal(windows, expected["context_windows"])
    for key in expected:
        if key.startswith("context_windows_default_"):  # so many frames in the published windows
            np.testing.assert_array_equal(schedule.windows(int(key.rsplit("_")[-1])), expected[key])
