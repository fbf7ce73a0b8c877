"""The ten lines of docs/own_diffusion.md: a whole run with them, and mistakes are one sentence."""

import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import symgen
from zero1a_jax.config import Refresh, from_values
from zero1a_jax.sources import diffusions, own_diffusion
from zero1a_jax.training import checks
from zero1a_jax.training.setup import condition_on_portrait

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "own_diffusion.md"


def example() -> str:
    """The one Python block of docs/own_diffusion.md."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    return code


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Saves code as mine.py where Python finds it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def save(code: str) -> str:
        (tmp_path / "mine.py").write_text(code)
        sys.modules.pop("mine", None)
        return "mine:load"

    yield save
    sys.modules.pop("mine", None)


def test_the_ten_lines_fill_and_refresh_a_sample(mine, fakes, monkeypatch):
    """SymGEN's own steps: render, condition, fill from noise, refresh; with and without guidance."""
    assert len(example().strip().splitlines()) == 10
    monkeypatch.setattr(fakes, "SIZE", 128)
    video_model, params = own_diffusion.load(mine(example()), 2)
    head = fakes.sphere_head()
    portrait = fakes.disc_portrait(head)
    flame, camera = jax.tree.map(lambda x: jnp.stack([x, x]), (portrait.flame, portrait.camera))
    rgb, alpha = 0.7 * jnp.stack([portrait.rgb, portrait.rgb]), jnp.stack([portrait.alpha] * 2)
    settings = dataclasses.replace(Refresh(), denoise_steps=50, inversion_steps=50, inversion_iterations=10)

    @jax.jit
    def run(params, rgb, alpha, guidance):
        conditions = symgen.condition_images(head, flame, camera, size=128, kind=video_model.condition)
        reference = condition_on_portrait(video_model, params, head, portrait)
        config = dataclasses.replace(settings, guidance=guidance)
        refresh = functools.partial(
            symgen.refresh,
            video_model,
            params,
            reference,
            rgb,
            alpha,
            conditions,
            key=jax.random.key(0),
            background=jnp.ones(3),
            config=config,
        )
        return refresh(from_noise=True), refresh()

    (filled, matte, reason), (kept, _, _) = run(params, rgb, alpha, jnp.float32(1.0))
    assert matte.shape == (2, 128, 128) and reason == symgen.ACCEPTED
    noise = np.asarray(filled - portrait.rgb)  # guidance 3.5 pulls toward the portrait, cut at white
    assert 0.01 < noise.std() < 0.4 and np.abs(noise.mean()) < 0.15
    assert np.abs(kept - rgb).max() < 0.02  # latents are frames: an update without guidance keeps them
    moved = run(params, rgb, alpha, jnp.float32(3.5))[1][0]
    assert np.abs(moved - portrait.rgb).mean() < 0.8 * np.abs(rgb - portrait.rgb).mean()


@pytest.mark.slow
def test_a_real_run_with_the_ten_lines(tmp_path):
    """As the page says: saved as mine.py, started beside it."""
    (tmp_path / "mine.py").write_text(example())
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "zero1a_jax",
            "run",
            "--flagfile=quickstart.flags",
            "--image=synthetic:7",
            "--diffusion=mine:load",
            "--workdir=run",
            "--steps=31",
            "--frames=2",
            "--spatial_samples=1",
            "--synthetic_samples=0",
            "--real_samples=0",
            "--update_every=15",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "run" / "export" / "avatar.ply").is_file()
    stored = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert "mine.py" in json.dumps(stored)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("def load", "def other", "has no attribute 'load'"),
        ("), jnp.float32(0.03)", ")", "as a tuple of two"),
        (
            "return diffusion.adapt(velocity, **parts, frame_size=128, condition_size=128)",
            "return 1",
            "has no frame_size",
        ),
        ("decode=lambda p, x: x.clip(0, 1)", "decode=lambda p, x: x[:1]", "decode returns shape"),
        ("def velocity(variance,", "def velocity(", "invert fails"),
        ("import jax.numpy", "import jax.nunpy", "No module named 'jax.nunpy'"),
    ],
)
def test_a_wrong_model_is_one_sentence(mine, old, new, sentence):
    code = example()
    assert old in code
    with pytest.raises(ValueError, match=re.escape(sentence)):
        own_diffusion.load(mine(code.replace(old, new)), 4)


def test_the_miniature_has_no_official_pose_guider():
    with pytest.raises(ValueError, match="no batch norm"):
        diffusions.load(from_values({"pose_guider": "official"}), "cpu")


def test_the_name_is_checked_before_anything_is_imported(mine):
    def found(**values):
        config = from_values({"image": "synthetic:0"} | values)
        return [line for line in checks.problems(config) if "diffusion" in line]

    mine("raise RuntimeError")
    assert found(diffusion="mine:load") == []
    assert "no module nowhere" in found(diffusion="nowhere:load")[0]
    assert "no folder mine" in found(diffusion="mine")[0]
    assert "--dry_run" in found(diffusion="mine:load", dry_run=True)[0]
