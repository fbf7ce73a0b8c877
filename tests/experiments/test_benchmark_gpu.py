"""What runs on a GPU once there is one, here on a CPU with short parts: limits, the page, what it refuses."""

import importlib
import json

import pytest

from experiments.benchmarks import gpu
from experiments.benchmarks.gpu import Options, Part
from zero1a_jax.commandline import flags
from zero1a_jax.errors import Refused

SEEN = {"platform": "cpu", "device": "cpu", "jax": "0"}


def test_a_part_that_fails_or_stands_still_leaves_the_others(tmp_path, monkeypatch):
    slow = tmp_path / "slow.py"
    slow.write_text("import time\nprint('half', flush=True)\ntime.sleep(99)\n")
    monkeypatch.chdir(tmp_path)
    parts = (
        Part("fails", 1.0, ("json.tool", "OUT/none.json")),
        Part("stands", 1.0, ("slow",)),
        Part("works", 1.0, ("json.tool", "--help")),
    )
    monkeypatch.setattr(gpu, "PARTS", parts)
    monkeypatch.setattr(gpu, "seen", lambda *_: SEEN)
    names = tuple(part.name for part in parts)
    out = tmp_path / "out"
    assert gpu.main(Options(minutes=0.15, out=str(out), device="cpu", parts=names)) == 1
    found = {part["name"]: part for part in json.loads((out / "gpu.json").read_text())["parts"]}
    assert "failed with exit code" in found["fails"]["ended"]
    assert "stopped at its limit" in found["stands"]["ended"] and found["stands"]["output"] == ["half"]
    assert found["works"]["ended"] == "done"
    page = (out / "gpu.md").read_text()
    assert page.index("## fails") < page.index("## stands") < page.index("## works") and "half" in page


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(Refused, match="there is no GPU: jax sees cpu"):
        gpu.main(Options(out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_real_kernels_on_a_cpu(tmp_path):
    code = gpu.main(Options(minutes=3, out=str(tmp_path), device="cpu", parts=("kernels",)))
    (part,) = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert code == 0, part["output"]
    assert any("the rasterizer by xla" in line for line in part["output"])


@pytest.mark.parametrize("part", gpu.PARTS, ids=lambda part: part.name)
def test_flags_of_the_parts(part):
    """Those that the commands know."""
    kind = importlib.import_module(part.arguments[0]).Options
    flags.parse(kind, part.arguments[1:])


def test_what_it_refuses():
    with pytest.raises(Refused, match="there is no part songs"):
        gpu.main(Options(out="x", parts=("songs",)))
    with pytest.raises(Refused, match="--out"):
        gpu.main(Options())
