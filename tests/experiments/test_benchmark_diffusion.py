"""The diffusion's benchmark: its programs, a row of its table, and what it refuses."""

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks import diffusion
from experiments.benchmarks.diffusion import Case, Options
from zero1a_jax.cost.datasheets import Speed
from zero1a_jax.errors import Refused


class FakeClock:
    """Seconds that pass with every look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.5
        return self.now


def test_a_row():
    """A product of 2e6 operations in half a second, where the device could do 8e6."""
    case = Case("step", lambda a: a @ a, (jax.ShapeDtypeStruct((100, 100), jnp.float32),))
    row = diffusion.run("64", case, Speed(1.0, 16e6, 0.0), FakeClock(), repeats=2)
    cells = dict(zip(diffusion.COLUMNS, row.strip("| ").split(" | "), strict=True))
    assert (cells["frames"], cells["program"], cells["TFLOP"], cells["ms"]) == ("64", "step", "2e-06", "500")
    assert cells["of peak"] == "25 %" and cells["compile s"] == "0.5"


def test_what_does_not_fit_is_skipped(monkeypatch):
    monkeypatch.setattr(diffusion, "free_bytes", lambda: 5e4)
    case = Case("step", lambda a: a @ a, (jax.ShapeDtypeStruct((100, 100), jnp.float32),))
    sentence = diffusion.run("64", case, Speed(1.0, 1.0, 0.0), FakeClock(), repeats=1)
    assert sentence == "64 step: skipped, it needs 0.0 GB and 0.0 are free."


def test_programs_have_the_weights_they_use_alone():
    """The miniature's portrait needs no video, and a step no image encoder."""
    config = diffusion.config_of("miniature", "bfloat16")
    options = Options(frames=2, programs=("reference", "step"))
    found = {case.name: case for case in diffusion.cases(config, options)}
    assert set(found) == {"reference", "step"}
    assert set(found["reference"].shapes[0]) == {"vae", "image_encoder", "denoiser", "pose_guider"}
    assert set(found["step"].shapes[0]) == {"vae", "pose_guider", "denoiser"}
    assert jax.eval_shape(found["step"].function, *found["step"].shapes).shape == (2, 16, 16, 48)
    kernel = jax.tree.leaves(found["step"].shapes[0]["denoiser"])[0]
    assert kernel.dtype == jnp.bfloat16 and jnp.ptp(diffusion.filled(kernel)) > 0


def test_what_it_refuses():
    with pytest.raises(ValueError, match="miniature or a number"):
        diffusion.main(Options(sizes=("huge",)))
    with pytest.raises(Refused, match="there is no fit"):
        diffusion.main(Options(programs=("fit",)))
