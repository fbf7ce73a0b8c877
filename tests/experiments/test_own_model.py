"""The README's ten lines: a model of one's own runs through the whole loop, and mistakes are one sentence."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import assemble, checks, own_model, pipeline, train
from experiments import config as config_module

README = Path(__file__).parents[2] / "README.md"


def example() -> str:
    """The one Python block of the README."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
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


def test_the_ten_lines_fill_and_refresh_a_dataset(mine, fakes, monkeypatch, tmp_path):
    """Real samples, condition images and refreshes, with a blob renderer so that it costs seconds."""
    assert len(example().strip().splitlines()) == 10
    monkeypatch.setattr(fakes, "SIZE", 128)
    config = fakes.small_config(
        workdir=str(tmp_path / "run"), diffusion=mine(example()), size=128, frames=2, spatial_samples=1,
        synthetic_samples=0, real_samples=0,
    )  # fmt: skip
    video_model, params = pipeline.load_diffusion(config)
    parts = fakes.fake_parts(diffusion=video_model, diffusion_params=params)
    setup = assemble.setup(config, parts, jax.local_devices()[:1])
    programs, progress = pipeline.Programs(setup), assemble.start(setup)
    train.first_fill(setup, programs, progress)
    filled = progress.dataset.rgb[1].astype(float)
    train.refresh(setup, programs, progress, [1], 0, from_noise=False)
    refreshed = progress.dataset.rgb[1].astype(float)
    # From noise comes a draw of the prior: the portrait with noise of its deviation (0.17), cut at white.
    noise = filled - parts.portrait.rgb * 255
    assert progress.rejected == 0 and 15 < noise.std() < 50 and abs(noise.mean()) < 25
    # Guidance 3.5 overshoots: a refresh goes from the avatar's frames toward the portrait and beyond.
    assert np.abs(refreshed - filled).mean() > 5 and progress.dataset.round[1] == 2


@pytest.mark.slow
def test_a_real_run_with_the_ten_lines(tmp_path):
    """As the README says: saved as mine.py, started beside it."""
    (tmp_path / "mine.py").write_text(example())
    root = README.parent
    done = subprocess.run(
        [sys.executable, "-m", "experiments.run", f"--flagfile={root}/experiments/flagfiles/quickstart.flags",
         "--image=synthetic:7", "--diffusion=mine:load", "--workdir=run", "--steps=31", "--frames=2",
         "--spatial_samples=1", "--synthetic_samples=0", "--real_samples=0", "--update_every=15"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "run" / "export" / "avatar.ply").is_file()
    stored = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert "mine.py" in json.dumps(stored)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("def load", "def other", "has no attribute 'load'"),
        ("), jnp.float32(0.03)", ")", "as a tuple of two"),
        ("frame_size=128", "frame_size=64", "use 64"),
        ("return diffusion.adapt(velocity, **parts, frame_size=128, condition_size=128)", "return 1",
         "has no frame_size"),
        ("decode=lambda p, x: x.clip(0, 1)", "decode=lambda p, x: x[:1]", "decode returns shape"),
        ("def velocity(variance,", "def velocity(", "invert fails"),
        ("import jax.numpy", "import jax.nunpy", "No module named 'jax.nunpy'"),
    ],
)  # fmt: skip
def test_a_wrong_model_is_one_sentence(mine, old, new, sentence):
    code = example()
    assert old in code
    with pytest.raises(ValueError, match=re.escape(sentence)):
        own_model.load(mine(code.replace(old, new)), 128, 4)


def test_the_miniature_has_no_official_pose_guider():
    with pytest.raises(ValueError, match="no batch norm"):
        pipeline.load_diffusion(config_module.from_values({"pose_guider": "official"}))


def test_the_name_is_checked_before_anything_is_imported(mine):
    def found(**values):
        config = config_module.from_values({"image": "synthetic:0"} | values)
        return [line for line in checks.problems(config) if "diffusion" in line]

    mine("raise RuntimeError")
    assert found(diffusion="mine:load") == []
    assert "no module nowhere" in found(diffusion="nowhere:load")[0]
    assert "such as mine:load" in found(diffusion="mine")[0]
    assert "--dry_run" in found(diffusion="mine:load", dry_run=True)[0]
