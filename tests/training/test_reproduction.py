"""Two folders of runs: every other bit is found, and what differs around them is told."""

import json
import shutil

import numpy as np
import pytest

from experiments import reproduce
from zero1a_jax import outputs
from zero1a_jax.config import from_values, to_values
from zero1a_jax.errors import Refused
from zero1a_jax.provenance import of_seed
from zero1a_jax.training import checkpoint, reproduction


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    tree = {"state": {"means": np.linspace(0, 1, 12, dtype=np.float32)}, "round": np.arange(3)}
    checkpoint.save(folder / "checkpoints", 8, tree)
    (folder / "videos").mkdir()
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8))
    outputs.video.write(folder / "videos" / "turntable.mp4", frames, 25, provenance=of_seed(0))
    np.savez(folder / "portrait.npz", rgb=np.ones((2, 2, 3), np.float32))
    (folder / "metrics.json").write_text(json.dumps({"psnr": 31.25, "seconds": {"training": 5.0}}))
    packages = {"python": "3.11", "packages": {"jax": "0.10.2"}, "platform": "here", "devices": ["cpu"]}
    (folder / "environment.json").write_text(json.dumps(packages))
    config = from_values({"image": "gone.png", "workdir": str(folder), "process": "1/2"})
    (folder / "config.json").write_text(json.dumps(to_values(config)))
    return folder


@pytest.fixture
def other(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "other")


def test_the_same_bits(finished, other):
    metrics = json.loads((other / "metrics.json").read_text())
    (other / "metrics.json").write_text(json.dumps(metrics | {"seconds": {"training": 7.0}}))
    assert reproduction.differences(finished, other) == (6, [])
    assert reproduction.surroundings(finished, other) == []


def test_one_bit_is_found(finished, other):
    means = np.linspace(0, 1, 12, dtype=np.float32)
    means[3] = np.nextafter(means[3], np.float32(2))
    checkpoint.save(other / "checkpoints", 8, {"state": {"means": means}, "round": np.arange(3)})
    (other / "metrics.json").write_text(json.dumps({"psnr": 31.26}))
    frames = list(np.zeros((4, 32, 32, 3), np.uint8))
    outputs.video.write(other / "videos" / "turntable.mp4", frames, 25, provenance=of_seed(0))
    np.savez(other / "portrait.npz", rgb=np.ones((2, 3, 3), np.float32))
    about = json.loads((other / "environment.json").read_text())
    (other / "environment.json").write_text(json.dumps(about | {"packages": {"jax": "0.11.2"}}))
    count, found = reproduction.differences(finished, other)
    assert count == 6 and len(found) == 4
    assert found[0] == "portrait rgb: float32[2, 2, 3] and float32[2, 3, 3]"
    assert found[1] == "checkpoint state.means: 8.33% of 12 values have other bits"
    assert found[2].startswith("metrics psnr") and found[3].startswith("video turntable.mp4")
    assert reproduction.surroundings(finished, other) == ["packages.jax: was 0.10.2, now 0.11.2"]


def test_what_is_no_finished_run(finished, other, tmp_path):
    (other / "metrics.json").unlink()
    with pytest.raises(Refused, match="no finished run"):
        reproduction.differences(finished, other)
    with pytest.raises(Refused, match="no finished run"):
        reproduce.main(reproduce.Options(of=str(other)))


def test_the_run_is_made_again(finished, tmp_path, monkeypatch, capsys):
    """By the stored flags, in one process; from the portrait in the folder, since the picture is gone."""
    made = []

    def make(config):
        made.append(config)
        folder = tmp_path / "new"
        assert json.loads((folder / "config.json").read_text())["workdir"] == str(folder)
        assert (folder / "portrait.npz").read_bytes() == (finished / "portrait.npz").read_bytes()
        for name in ("checkpoints", "videos"):
            shutil.copytree(finished / name, folder / name)
        shutil.copy(finished / "metrics.json", folder)

    monkeypatch.setattr(reproduce.subrun, "make", make)
    assert reproduce.main(reproduce.Options(of=str(finished), out=str(tmp_path / "new"))) == 0
    said = capsys.readouterr().out
    assert "environment.json: what differs around the runs is not known" in said
    assert "the picture is gone" in said and "6 of 6 arrays, videos and metrics have the same bits" in said
    assert made[0].runner.process == "" and made[0].input.image == "gone.png"
