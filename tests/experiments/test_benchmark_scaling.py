"""The scaling benchmark: the shortened run, what is counted of a run, and the model's arithmetic."""

import itertools

import pytest

from experiments.benchmarks import scaling, scaling_model, scaling_run
from experiments.benchmarks.scaling_model import Device, Link, Work
from zero1a_jax.config import Config, from_values
from zero1a_jax.errors import Refused

WORK = Work(steps=900, batch=4, update_every=30, samples=4, pair_bytes=1e6, sample_bytes=5e5)


def test_a_shortened_run_meets_every_stage():
    short = scaling.shortened(from_values({"steps": 900, "synthetic_start": 360, "real_start": 540}), 60)
    assert (short.update.steps, short.curriculum.synthetic_start, short.curriculum.real_start) == (60, 24, 36)
    assert short.refresh.update_every == 6 and short.runner.checkpoint_every == 60
    assert scaling.shortened(Config(), 0) == Config()
    never = scaling.shortened(from_values({"density_every": 0}), 100)
    assert never.density.density_every == 0


def test_a_devices_seconds_from_the_cpu_time_of_several():
    """8 devices make 8 pairs of 4, and every device does the rest."""
    rows = [(devices, 0.05 * max(4, devices) + 0.01 * devices) for devices in (1, 2, 4, 8)]
    assert scaling_model.fitted(rows, 4) == pytest.approx((0.05, 0.01))
    assert scaling_model.fitted(rows[:1], 4) == pytest.approx((0.0525, 0.0))


def test_the_model():
    device, link = Device(pair=0.05, rest=0.01, sample=0.4, fixed=60.0), Link(1e9, 1e-3)
    one = scaling_model.seconds(1, device, WORK, link)
    assert one["steps"] == pytest.approx(900 * 0.21) and one["refreshes"] == pytest.approx(29 * 1.6)
    assert one["exchange"] == 0 and one["all"] == pytest.approx(60 + 189 + 46.4)
    eight = scaling_model.seconds(8, device, WORK, link)
    assert eight["steps"] == pytest.approx(900 * 0.06)
    assert eight["exchange"] == pytest.approx(900 * (7e-3 + 3e-3) + 29 * (3.5e-3 + 3e-3))
    filled = WORK.filling(64, 32)
    assert filled.steps == 56 and 55 // filled.update_every == 4  # 29 updates of 4 samples are 116
    assert scaling_model.avatars_an_hour(4096, 10_000, 100.0) == pytest.approx(10_000 * 12)


def test_what_is_counted_of_a_run(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(scaling_run, "CLOCKS", dict.fromkeys(("seconds", "host", "cpu"), lambda: next(clock)))
    seen = scaling_run.Watch()
    for step in range(4):
        if step in (1, 3):
            with seen.block("refreshes"):
                seen.compiled() if step == 1 else None  # the first compiles
                seen.exchanged(7)
        with seen.block("steps"):
            seen.compiled() if step in (0, 2) else None
            seen.exchanged(100 + step)
    with seen.block("saves"):
        seen.compiled()
    found = seen.report()
    assert found["late_compilations"] == 1
    assert found["steps"]["bytes"] == 103 and found["refreshes"]["bytes"] == 7
    assert found["steps"]["count"] == 0 and found["refreshes"]["count"] == 1


def test_what_it_refuses(tmp_path):
    with pytest.raises(Refused, match="whole numbers"):
        scaling.main(scaling.Options(out=str(tmp_path), devices=("two",)))
    (tmp_path / "1x1").mkdir()
    with pytest.raises(Refused, match="is there already"):
        scaling.main(scaling.Options(out=str(tmp_path), devices=("1",)))
