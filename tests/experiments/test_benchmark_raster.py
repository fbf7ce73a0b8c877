"""The rasterizer's benchmark: its ratios, its counts, and that table, JSON and plots come out."""

import json
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import (
    raster,
    raster_bars,
    raster_features,
    raster_measure,
    raster_peers,
    raster_plots,
    raster_report,
    raster_roofline,
    raster_scenes,
    raster_timing,
)
from experiments.benchmarks.raster_measure import Batch, Pass, Record, Rival
from experiments.benchmarks.raster_roofline import Pairs, Speed
from experiments.benchmarks.raster_scenes import Case
from zero1a_jax import rasterizer
from zero1a_jax.commandline.flags import parse
from zero1a_jax.errors import Refused
from zero1a_jax.rasterizer import project
from zero1a_jax.rasterizer.table import Column

SPEED = Speed(exp_ns=0.25, multiply_add_ns=0.0125)  # half a nanosecond a pair
SHELL = Case("shell", 100, 16)


class FakeClock:
    """Time that passes only where a program says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def program(self, seconds):
        """A call that takes `seconds`, and ten times as long at first."""
        calls = []

        def call():
            calls.append(None)
            self.now += seconds * (10 if len(calls) <= 2 else 1)
            return jnp.zeros(())

        return call


def record(case=SHELL, implementation="xla", ms=6.0):
    forward = Pass(ms=ms, composite_ms=2.0, floor_ms=1.0, compile_s=1.5, temporaries_mb=3.0)
    gradient = Pass(ms=3 * ms, composite_ms=6.0, floor_ms=3.0, compile_s=2.5, temporaries_mb=7.0)
    rivals = (Rival("other 1.0", 2 * ms, 12 * ms, 1e-3, 0.25),)
    return Record(case, implementation, 4096, Pairs(2_000_000, 500_000), forward, gradient, rivals)


def results(**fields):
    batches = [Batch(SHELL, "xla", 4, 60.0, 80.0, 9.0)]
    growth = raster_report.Growth(
        [record(SHELL._replace(size=n), ms=6.0 * n / 100) for n in (100, 400)],
        [record(SHELL._replace(pixels=n)) for n in (16, 32)],
        [Batch(SHELL, "xla", n, 15.0 * n, 20.0 * n, 9.0) for n in (1, 2)],
    )
    fields = {"records": [record()], "batches": batches, "growth": growth} | fields
    return raster_report.Results("a machine", SPEED, notes=["gsplat is absent."], **fields)


def test_medians_take_turns_and_leave_out_the_first_calls():
    clock = FakeClock()
    times = raster_timing.medians(
        {"ours": clock.program(0.004), "theirs": clock.program(0.016)}, repeats=5, clock=clock
    )
    assert times == pytest.approx({"ours": 4.0, "theirs": 16.0})


@pytest.mark.parametrize("case", [Case("shell", 40, 16), Case("cloud", 40, 12)])
def test_scenes(case):
    gaussians, camera = raster_scenes.build(case)
    assert raster_scenes.parse(str(case)) == case
    assert gaussians.means.shape == (40, 3) and camera.width == camera.height == case.pixels
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves((gaussians, camera)))


@pytest.mark.parametrize("text", ["10000", "0@128", "100@", "nowhere:100@128", "1e4@128"])
def test_a_case_that_does_not_read(text):
    with pytest.raises(ValueError, match="GAUSSIANS@PIXELS"):
        raster_scenes.parse(text)


def test_pairs_are_those_that_a_dense_renderer_draws():
    gaussians, camera = raster_scenes.build(Case("shell", 60, 16))
    gaussians = gaussians.replace(opacity_logits=gaussians.opacity_logits + 4)  # pixels become opaque
    pairs = raster_roofline.pairs(gaussians, camera, capacity=600)
    lens = project.Lens(antialiased=False, near=0.01, far=np.inf, radius_clip=0.0)
    splats, _ = project.project(gaussians, camera, lens=lens)
    table = np.stack([np.asarray(x, np.float64) for x in splats], 1)
    y, x = np.mgrid[:16, :16] + 0.5
    transmittance, drawn, reached = np.ones((16, 16)), 0, 0
    for px, py, l00, l01, l11, opacity, *_ in table[np.argsort(table[:, Column.DEPTH])]:
        u, v = l00 * (x - px) + l01 * (y - py), l11 * (y - py)
        alpha = np.minimum(np.exp(opacity - u * u - v * v), 0.99)
        alpha = np.where(alpha >= 1 / 255, alpha, 0)
        reached += np.sum(transmittance > 1e-4)
        drawn += np.sum((alpha > 0) & (transmittance * (1 - alpha) > 1e-4))
        transmittance = np.where(transmittance > 1e-4, transmittance * (1 - alpha), 0)
    assert transmittance.min() <= 1e-4  # some pixel ends early
    assert pairs.drawn == pytest.approx(drawn, rel=0.01)
    assert pairs.drawn < pairs.evaluated <= reached


def test_floor_of_the_roofline():
    assert SPEED.floor_ms(2_000_000, gradient=False) == pytest.approx(1.0)
    assert SPEED.floor_ms(2_000_000, gradient=True) == pytest.approx(3.0)
    speed = raster_roofline.measure(FakeClock(), size=16, repeats=1)
    assert speed == Speed(0.0, 0.0)  # no time passed


@pytest.mark.slow
def test_measures_an_implementation_and_a_peer(monkeypatch):
    """Real programs at a tiny size under a clock that counts its calls, so that every time is 1 s."""
    monkeypatch.setattr(rasterizer, "suggest_capacity", lambda *_: 256)
    case, ticks = Case("shell", 30, 8), iter(range(10_000))
    shown = []

    def peer(gaussians, camera, capacity):
        shown.append(capacity)
        return raster_peers.Peer("twin", lambda: None, lambda: None, lambda: np.full((8, 8, 3), -5.0))

    settings = raster_measure.Settings(lambda: float(next(ticks)), 1, SPEED)
    (found,) = raster_measure.measure([case], ["xla"], settings, [peer])
    assert shown == [256]
    assert found.forward.ms == found.gradient.composite_ms == 1000
    assert found.gradient.floor_ms == pytest.approx(3 * found.forward.floor_ms) and found.forward.floor_ms > 0
    assert found.forward.compile_s > 0 and found.gradient.temporaries_mb > 0
    assert 5 < found.rivals[0].largest_difference < 9
    assert found.rivals[0].pixels_apart == 1
    (batch,) = raster_measure.measure_batches(case, ["xla"], [2], settings)
    assert batch.over_loop == 1 and batch.temporaries_mb > 0


def test_table_puts_ratios_first():
    columns, (row,) = raster_report.table(results().records, results().batches)
    cells = dict(zip(columns, row, strict=True))
    assert columns[:5] == [
        "case",
        "implementation",
        "forward / other 1.0",
        "gradient / other 1.0",
        "batch / loop",
    ]
    assert cells["forward / other 1.0"] == "0.50" and cells["gradient / other 1.0"] == "0.25"
    assert cells["batch / loop"] == "0.75 (4)"
    assert cells["of roofline"] == "50%, 50%" and cells["of it in all"] == "17%, 17%"
    assert cells["temporaries MB"] == "3.0, 7.0" and cells["compile s"] == "1.5, 2.5"
    assert "0.001, 25.000% of the pixels" in raster_report.agreement(record())[0]


def test_growth_is_relative_to_its_first_row():
    columns, rows = raster_report.grown(results().growth)["Gaussians"]
    assert [row[columns.index("forward")] for row in rows] == ["x 1.00", "x 4.00"]


def test_report_and_json(tmp_path):
    raster_plots.write(tmp_path, results())
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") == 6  # others, time, memory, compilation, roofline, cameras
    assert page.count("<svg") == 9  # four subjects along two axes, and cameras
    assert "gsplat is absent." in page and "http://" not in page and "https://" not in page
    read = json.loads((tmp_path / "results.json").read_text())
    assert read["records"][0]["over_rivals"] == {"other 1.0": {"forward": 0.5, "gradient": 0.25}}
    assert read["records"][0]["forward"]["of_roofline"] == 0.5
    assert read["batches"][0]["over_loop"] == 0.75
    assert [r["case"]["size"] for r in read["growth"]["gaussians"]] == [100, 400]
    assert read["speed"]["exp_ns"] == 0.25


def test_bars_are_as_long_as_their_values():
    image = raster_bars.bars({"a": {"one": 1.0, "half": 0.5, "none": float("nan")}}, "ms")
    blue, red = ((image == colour).all(-1).sum(1).max() for colour in ((47, 111, 222), (224, 99, 58)))
    assert red == pytest.approx(blue / 2, abs=1)


def parsed(*arguments):
    return parse(raster.Options, arguments)


def test_run_prints_as_it_goes(monkeypatch, capsys):
    options = parsed("--cameras=4", "--repeats=1", "--implementations=xla")
    monkeypatch.setattr(raster_roofline, "measure", lambda clock: SPEED)
    monkeypatch.setattr(raster_measure, "measure", lambda cases, *_: [record(case) for case in cases])
    monkeypatch.setattr(
        raster_measure,
        "measure_batches",
        lambda case, names, counts, _: [Batch(case, names[0], count, 60.0, 80.0, 9.0) for count in counts],
    )
    found = raster.run([SHELL, SHELL._replace(size=200)], SHELL, FakeClock(), options)
    printed = capsys.readouterr().out.splitlines()
    assert f"jax {jax.__version__}" in printed[0]
    assert sum(line.startswith("| case") for line in printed) == 1
    assert [line.split(" | ")[0] for line in printed if "0.75 (4)" in line] == ["| 100@16", "| 200@16"]
    assert len(found.records) == 2 and len(found.growth.gaussians) == 5 and len(found.growth.cameras) == 4


def test_cores_have_a_process_each(monkeypatch, capsys):
    times = {"--cores=1": 6.0, "--cores=2": 4.5}
    arguments = ["--cases=100@16", "--cores=1,2"]
    monkeypatch.setattr(raster.sys, "argv", ["raster", *arguments])

    def child(command, check):
        folder = command[-1].removeprefix("--report=")
        raster_plots.write(folder, results(records=[record(ms=times[command[-2]])]))
        assert check and "--cases=100@16" in command
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(raster.subprocess, "run", child)
    raster.main(parsed(*arguments))
    rows = [line for line in capsys.readouterr().out.splitlines() if "100@16" in line]
    assert rows[0].startswith("| 100@16 | xla | 1 | 1.00 | 1.00")
    assert rows[1].startswith("| 100@16 | xla | 2 | 0.75 | 0.75")


def test_flags_that_cannot_be():
    for match, arguments in {
        "adds up": ["--cores=2", "--clock=cpu"],
        "GAUSSIANS@PIXELS": ["--cores=2", "--cases=100"],
        "whole numbers": ["--cores=two"],
    }.items():
        with pytest.raises(Refused, match=match):
            raster.main(parsed(*arguments))
    for argument in ("--repeats=0", "--clock=sun", "--cores"):
        with pytest.raises(Refused):
            parsed(argument)
    with pytest.raises(Refused, match="may use"):
        raster.pin(10_000)


def test_extras_are_compared_with_a_plain_rendering(monkeypatch, capsys):
    clock, seconds = FakeClock(), {"inspect": 1, "0 features": 2, "0 features, gradient": 4}
    seconds |= {"2 features": 3, "2 features, gradient": 6, "absolute, gradient": 5}
    programs = {name: clock.program(value) for name, value in seconds.items()}
    monkeypatch.setattr(raster_features.time, "perf_counter", clock)
    monkeypatch.setattr(raster_features, "_programs", lambda *given: programs if given[-1] == [2] else {})
    raster_features.main(parse(raster_features.Options, ["--case=30@8", "--channels=2", "--repeats=3"]))
    title, *rows = capsys.readouterr().out.splitlines()
    assert "30@8, wall clock" in title and rows[1] == "0 features: 2000.0 ms, 1.00"
    assert [row.split()[-1] for row in rows] == ["0.50", "1.00", "1.00", "1.50", "1.50", "1.25"]
    with pytest.raises(Refused, match="whole numbers"):
        raster_features.main(raster_features.Options(channels=("many",)))


def test_peers(tmp_path):
    """A file's peer draws what we draw; the others say why they are missing."""
    path = tmp_path / "xla.py"
    path.write_text(
        "import jax.numpy as jnp\n"
        "def make(width, height, tile, _, lanes, unroll, capacity):\n"
        "    def render(means, quats, scales, opacities, colours, view, intrinsics, background):\n"
        "        rgb = jnp.ones((3, height, width)) * background[:, None, None] + 0 * colours.sum()\n"
        "        return jnp.concatenate([rgb, 0 * rgb[:1]]), 0\n"
        "    return render\n"
    )
    (factory,), notes = raster_peers.available(str(path))
    assert len(notes) == 1 and "gsplat" in notes[0] and "splax" in notes[0]
    gaussians, camera = raster_scenes.build(Case("shell", 10, 8))
    peer = factory(gaussians, camera, 64)
    assert peer.image().shape == (8, 8, 3)
    assert [x.shape for x in peer.gradient()] == [(10, 3), (10, 4), (10, 3), (10,), (10, 3)]
    assert raster_peers.difference(peer.image(), np.full((8, 8, 3), 0.2)) == pytest.approx((0, 0), abs=1e-6)
    with pytest.raises(ValueError, match="not a Python file"):
        raster_peers.from_file(str(tmp_path / "image.png"))
