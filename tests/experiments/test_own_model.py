"""The README's ten lines: a model of one's own runs through the whole loop, and mistakes are one sentence."""

import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import assemble, checks, own_model, pipeline
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


def test_the_ten_lines_run_the_loop(mine, fakes, monkeypatch, tmp_path):
    """Real renders and a real refresh of every kind, with a blob renderer so that it costs seconds."""
    assert len(example().strip().splitlines()) == 10
    monkeypatch.setattr(fakes, "SIZE", 128)
    name = mine(example())
    config = fakes.small_config(
        workdir=str(tmp_path / "run"), diffusion=name, size=128, frames=2, steps=3, update_every=2,
        spatial_samples=1, synthetic_samples=0, real_samples=0, samples_per_update=1, batch=1,
        density_every=0,
    )  # fmt: skip
    video_model, params = pipeline.load_diffusion(config)
    parts = fakes.fake_parts(diffusion=video_model, diffusion_params=params)
    setup = assemble.setup(config, parts, jax.local_devices()[:1])
    programs = pipeline.Programs(setup)
    progress = assemble.start(setup)
    pipeline.train.first_fill(setup, programs, progress)
    filled = progress.dataset.rgb.copy()
    (tmp_path / "logs").mkdir()
    log = pipeline.logs.Log(tmp_path, steps=3, start=0)
    pipeline.train.train(setup, programs, progress, log, save=lambda at: None, stop=lambda: False)
    log.close()
    # With a wide prior around the portrait, what comes out of noise is the portrait with noise.
    portrait = np.asarray(parts.portrait.rgb) * 255
    noise = filled[1].astype(float) - portrait
    assert progress.rejected == 0 and 15 < noise.std() < 50 and abs(noise.mean()) < 25
    assert (progress.dataset.rgb[1] != filled[1]).any() and progress.dataset.round[1] == 2
    assert np.isfinite(np.asarray(jax.tree.leaves(progress.state.avatar.gaussians)[0])).all()


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


def test_the_name_is_checked_before_anything_is_imported(mine):
    def found(**values):
        config = config_module.from_values({"image": "synthetic:0"} | values)
        return [line for line in checks.problems(config) if "diffusion" in line]

    mine("raise RuntimeError")
    assert found(diffusion="mine:load") == []
    assert "no module nowhere" in found(diffusion="nowhere:load")[0]
    assert "such as mine:load" in found(diffusion="mine")[0]
    assert "--dry_run" in found(diffusion="mine:load", dry_run=True)[0]
