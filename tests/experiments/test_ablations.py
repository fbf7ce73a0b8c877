"""Ablations: one run for each variant and identity, in processes of their own, resumed, and measured."""

import dataclasses

import pytest

from experiments import ablations
from zero1a_jax.commandline import flags, subrun
from zero1a_jax.config import Config
from zero1a_jax.errors import Refused
from zero1a_jax.showing import evaluation


def rows(identity):
    return [
        dict.fromkeys(evaluation.METRICS, 0.5) | {"identity": identity, "pair": k, "yaw": yaw, "psnr": 20 + k}
        for k, yaw in enumerate([5, -20, 35, -50, 70])
    ]


def test_ablations_call_the_runner_and_resume(tmp_path, monkeypatch):
    calls, measured = [], []

    def call(arguments):
        assert arguments[0] == "run"
        config = flags.parse(Config, arguments[1:])
        calls.append(config)
        folder = tmp_path / config.runner.workdir
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text("{}")
        return 0, ""

    monkeypatch.setattr(subrun, "call", call)
    monkeypatch.setattr(
        evaluation, "evaluate", lambda folder, seed, out, pairs: measured.append(folder) or rows(seed)
    )
    given = [f"--out={tmp_path}", "--seeds=1,2", "--flagfile=quickstart.flags", "--steps=9"]
    options = flags.parse(ablations.Options, given)
    ablations.main(options)
    assert len(calls) == len(measured) == 8
    assert calls[0].refresh.dataset == "none" and calls[0].input.image == "synthetic:1"
    shared = flags.parse(Config, given[2:])
    own = {"image": "synthetic:1", "workdir": str(tmp_path / "1" / "full")}
    assert calls[3].update == shared.update and calls[3].update.steps == 9
    assert calls[3].refresh == shared.refresh and calls[3].curriculum == shared.curriculum
    assert dataclasses.replace(shared.input, image=own["image"]) == calls[3].input
    assert (tmp_path / "table.md").read_text().count("| full |") >= 6
    ablations.main(options)
    assert len(calls) == 8
    (tmp_path / "table.md").write_text("edited")
    with pytest.raises(Refused, match="table.md is not what this program wrote"):
        ablations.main(options)


def test_a_failed_run_stops_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(subrun, "call", lambda arguments: (3, ""))
    with pytest.raises(Refused, match="exit code 3"):
        ablations.main(ablations.Options(seeds=("1",), out=str(tmp_path)))
