"""The study: a run for each method, person and seed, resumed, and measured."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from experiments import study
from zero1a_jax.commandline import flags, stopping
from zero1a_jax.config import Config
from zero1a_jax.errors import Refused
from zero1a_jax.measuring import evaluation, grids, wholeness
from zero1a_jax.training import run


@pytest.fixture
def calls(monkeypatch):
    made = []

    def make(config):
        made.append(config)
        return 0

    def evaluate(folder, identity, out, pairs, size):
        own = {"identity": identity, "psnr": 20 + identity + (folder.parent.name == "symgen")}
        return [
            dict.fromkeys((*evaluation.METRICS, "strength"), 0.5) | own | {"pair": k, "yaw": yaw}
            for k, yaw in enumerate([5, -20, 35, -50, 70])
        ]

    monkeypatch.setattr(study.environment, "fix", lambda **how: None)  # jax is there already
    monkeypatch.setattr(run, "run", make)
    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    monkeypatch.setattr(evaluation, "shown_in", lambda *of: evaluation.Shown("", None, None, None, None))
    monkeypatch.setattr(grids, "grid", lambda person, folders, size: np.full((4, 4, 3), person, np.uint8))
    monkeypatch.setattr(wholeness, "inconsistency", lambda *of, **how: 0.5)
    return made


def given(folder, *more):
    flags_ = ["--identities=2", "--first_identity=1", "--seeds=2", "--methods=symgen,sds", f"--out={folder}"]
    return flags.parse(study.Options, [*flags_, "--flagfile=study.flags", "--steps=9", *more])


def test_runs_are_made_once_and_tabled(tmp_path, calls):
    study.main(given(tmp_path))
    assert len(calls) == 8 and {c.runner.seed for c in calls} == {0, 1}
    assert [c.refresh.method for c in calls[:2]] == ["symgen", "sds"]
    shared = flags.parse(Config, ["--flagfile=study.flags", "--steps=9"])
    assert calls[0].curriculum == shared.curriculum and calls[0].update == shared.update
    assert calls[0].runner.results == "avatar" and calls[0].update.steps == 9
    assert dataclasses.replace(shared.input, image="synthetic:1") == calls[0].input
    result = json.loads((tmp_path / "sds" / "2_1.json").read_text())
    assert result["cpu_seconds"] >= 0 and len(result["rows"]) == 5
    lines = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert len(lines) == 8 * 6 and lines[5]["yaw"] == "all" and float(lines[5]["psnr"]) == 22
    table = (tmp_path / "table.md").read_text()
    assert "| sds | 8 | -1.00 (-1.00 to -1.00) | 0 of 8 |" in table  # both seeds of both people, at the side
    assert "| inconsistency | flicker |" in table and "| 0.50 | - |" in table
    costs = (tmp_path / "cost.csv").read_text().splitlines()
    assert len(costs) == 9 and costs[1].startswith("symgen,1,0,")
    assert "sds</text>" in (tmp_path / "psnr.svg").read_text()
    page = (tmp_path / "index.html").read_text()
    assert page.count("<svg") == 3 and page.count("<img") == 2 and "Paired differences to symgen" in page
    assert np.asarray(Image.open(tmp_path / "person_1.png")).max() == 2  # the second person
    study.main(given(tmp_path))
    assert len(calls) == 8 and (tmp_path / "table.md").read_text() == table
    (tmp_path / "table.md").write_text("edited")
    with pytest.raises(Refused, match="table.md is not what this program wrote"):
        study.main(given(tmp_path))


def test_what_was_measured_by_less_is_measured_again_and_not_made_again(tmp_path, calls):
    """Results of an older version lack figures; the run's own time stays what it was."""
    study.main(given(tmp_path))
    path = tmp_path / "sds" / "2_1.json"
    old = json.loads(path.read_text()) | {"cpu_seconds": 123.0}
    del old["inconsistency"]
    path.write_text(json.dumps(old))
    study.main(given(tmp_path))
    new = json.loads(path.read_text())
    assert new["inconsistency"] == 0.5 and new["cpu_seconds"] == 123.0
    assert len(calls) == 9  # the run is asked for, which is there: it ends at once


def test_shards_share_the_runs(tmp_path, calls, capsys):
    study.main(given(tmp_path, "--shard=1/2"))
    assert [(c.input.image, c.runner.seed) for c in calls] == [
        ("synthetic:2", 0), ("synthetic:2", 0), ("synthetic:2", 1), ("synthetic:2", 1)
    ]  # fmt: skip
    assert "4 runs of other shards are missing" in capsys.readouterr().out
    assert not (tmp_path / "table.csv").exists()
    study.main(given(tmp_path, "--shard=0/2"))
    assert len(calls) == 8 and (tmp_path / "table.csv").is_file()


def test_a_failed_run_stops_it(tmp_path, monkeypatch):
    monkeypatch.setattr(study.environment, "fix", lambda **how: None)
    monkeypatch.setattr(run, "run", lambda config: 3)
    with pytest.raises(Refused, match="exit code 3"):
        study.main(given(tmp_path))


def test_a_signal_ends_it_with_its_own_code(tmp_path, monkeypatch):
    monkeypatch.setattr(study.environment, "fix", lambda **how: None)
    monkeypatch.setattr(run, "run", lambda config: 143)
    with pytest.raises(stopping.Stopped) as stopped:
        study.main(given(tmp_path))
    assert stopped.value.code == 143 and not list(tmp_path.rglob("*.json"))


def test_every_method_is_a_value_of_the_runs_flags():
    options = study.Options(out="w", identities=1, seeds=1)
    configs = [study.config_of(options, task) for task in study.tasks(options)]
    assert len({str((c.refresh, c.curriculum)) for c in configs}) == len(study.METHODS)


def test_what_a_run_would_refuse_is_refused_first(tmp_path, calls):
    with pytest.raises(Refused, match="sds: .*--split_frames"):
        study.main(given(tmp_path, "--split_frames"))
    with pytest.raises(Refused, match="--shard"):
        study.main(given(tmp_path, "--process=0/2", "--coordinator=localhost:1"))
    assert not calls
