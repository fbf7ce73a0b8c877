"""--diffusion=FOLDER: AniPortrait's files through the runner's own path, as published and converted."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from experiments import convert
from zero1a_jax import diffusion
from zero1a_jax.converters import aniportrait
from zero1a_jax.converters.aniportrait_keys import EXPECTED, Sizes
from zero1a_jax.diffusion.motion import position_table
from zero1a_jax.sources import diffusions
from zero1a_jax.training import checks

ROOT = Path(__file__).parents[2]
SIZES = Sizes(
    vae_channels=(8, 8, 8, 8),
    vae_layers=1,
    vae_groups=4,
    unet_channels=(8, 16),
    unet_layers=1,
    unet_heads=2,
    down_attention=(True, False),
    up_attention=(True, False),
    groups=4,
    context_channels=8,
    motion_levels=(True, True),
    motion_heads=2,
    pose_heads=2,
    pose_head_channels=4,
    clip_size=28,
    clip_channels=8,
    clip_feedforward=8,
    clip_layers=1,
    clip_heads=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random model, named as the release is."""
    folder, rng = tmp_path_factory.mktemp("published"), np.random.default_rng(0)
    places = {
        "vae": "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
        "image_encoder": "image_encoder/model.safetensors",
    }
    for name, expected in EXPECTED.items():
        tensors = {}
        for key, shape in expected(SIZES).items():
            value = rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))
            value = position_table(shape[1], shape[2])[None] if key.endswith(".pe") else value
            tensors[key] = (np.abs(value) + 0.1 if key.endswith("running_var") else value).astype(np.float32)
        path = folder / places.get(name, f"{name}.safetensors")
        path.parent.mkdir(exist_ok=True)
        save_file(tensors, path)
    sections = {
        "": {
            "norm_num_groups": 4,
            "num_attention_heads": 2,
            "motion_module": {"num_attention_heads": 2},
            "pose_guider": {"num_attention_heads": 2, "attention_head_dim": 4},
        },
        "sd-vae-ft-mse": {"norm_num_groups": 4},
        "image_encoder": {"num_attention_heads": 2},
    }
    for place, config in sections.items():
        (folder / place / "config.json").write_text(json.dumps(config))
    return folder


def test_the_folder_becomes_a_model(folder, tmp_path):
    """Config and parameters fit each other: traced through reference and denoising, nothing is compiled."""
    config, params = diffusions.read(folder, 64)
    assert dataclasses.asdict(SIZES).items() <= dataclasses.asdict(config).items()
    model, rgb, frames = diffusion.build(config), jnp.zeros((64, 64, 3)), jnp.zeros((3, 64, 64, 3))

    def whole(params, rgb, frames):
        given, latents = model.reference(params, rgb), model.encode(params, frames)
        return model.decode(params, model.denoise(params, latents, given, frames, steps=2, guidance=1.0))

    assert jax.eval_shape(whole, params, rgb, frames).shape == frames.shape
    convert.main(convert.Convert(diffusion=str(folder), out=str(tmp_path / "out"), dtype="float16"))
    again, halves = diffusions.read(tmp_path / "out", 64)
    assert again == config
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.astype(b.dtype), b), params, halves)


def test_a_bad_folder_is_one_sentence_before_anything_starts(folder, tmp_path):
    assert checks.diffusion_problems(str(folder), 64) == []
    assert "must be a multiple of 8" in checks.diffusion_problems(str(folder), 60)[0]
    found = checks.diffusion_problems(str(tmp_path), 64)
    assert len(found) == 1 and "reference_unet is missing" in found[0] and "--diffusion" in found[0]


def loop(folder, workdir):
    """A run of 12 steps with three dataset updates by the folder's model; its metrics."""
    command = [
        sys.executable,
        "-m",
        "experiments.run",
        "--image=synthetic:7",
        f"--diffusion={folder}",
        "--size=64",
        f"--workdir={workdir}",
        "--steps=12",
        "--frames=2",
        "--spatial_samples=1",
        "--update_every=5",
        "--synthetic_samples=0",
        "--real_samples=0",
        "--view_interval=4",
        "--denoise_steps=1",
        "--batch=1",
        "--inversion_steps=1",
        "--inversion_iterations=1",
        "--guidance=2",
        "--noise_guidance=1",
        "--inversion_guidance=0",
        "--density_every=0",
        "--checkpoint_every=6",
        "--image_every=0",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    about = json.loads((workdir / "environment.json").read_text())
    assert {path.name for path in aniportrait.files(folder)} <= set(about["weights"])
    return json.loads((workdir / "metrics.json").read_text())


@pytest.mark.slow  # a whole run, most of it compilation
@pytest.mark.parametrize("converted", [False, True])
def test_the_whole_loop(folder, tmp_path, converted):
    if converted:
        aniportrait.convert(folder, tmp_path / "out", dtype="bfloat16")
        folder = tmp_path / "out"
    assert np.isfinite(loop(folder, tmp_path / "run")["portrait_psnr_masked"])


@pytest.mark.slow  # 4 minutes on one core
def test_the_whole_loop_by_the_reference_fixture(reference_path, tmp_path):
    """Four levels, every kind of block, in the published naming: the files of the parity tests."""
    given = reference_path("aniportrait")
    if not (given / "denoising_unet.safetensors").is_file():
        pytest.skip("the AniPortrait fixture (22 MB) is not here: set ZERO1A_FIXTURES to its parent folder")
    metrics = loop(given, tmp_path / "run")
    assert np.isfinite(metrics["portrait_psnr_masked"])
    assert metrics["refreshes"] == 3 and metrics["rejected"] == 0
