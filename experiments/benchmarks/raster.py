"""The rasterizer's time, memory and compilation, beside others, and how near it is to a roofline.

On one core:       python -m experiments.benchmarks.raster --cores=1 --clock=cpu --peer=path/to/xla.py
One core and two:  python -m experiments.benchmarks.raster --cores=1,2
Plots and JSON:    add --report=FOLDER, and --growth=10000@256 for growth with Gaussians, pixels and cameras
On a GPU:          SCIPY_ARRAY_API=1 python -m experiments.benchmarks.raster, with gsplat and splax installed

Ratios come first: medians of calls that take turns in one process, on the same cores. A case is
GAUSSIANS@PIXELS, or SCENE:GAUSSIANS@PIXELS with a scene of raster_scenes.py. What stands behind each
figure is said in raster_measure.py and raster_roofline.py; what a peer's file must offer in raster_peers.py.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import app, flags

from experiments.benchmarks import raster_measure, raster_peers, raster_plots, raster_report, raster_roofline
from experiments.benchmarks.raster_scenes import Case, parse
from zero1a_jax.commandline import memory

_PEER = flags.DEFINE_string("peer", None, "a Python file with another rasterizer, see raster_peers.py")
_CASES = flags.DEFINE_list("cases", ["10000@128", "10000@512", "50000@512"], "Gaussians@pixels")
_REPEATS = flags.DEFINE_integer("repeats", 15, "timed calls; the median counts", lower_bound=1)
_CLOCK = flags.DEFINE_enum(
    "clock", "wall", ["wall", "cpu"], "cpu: the process's own time, for a busy machine and one core"
)
_CAMERAS = flags.DEFINE_integer("cameras", 4, "cameras of the batch that is compared with a loop; 0: none")
_NAMES = flags.DEFINE_list("implementations", [], "xla, pallas; by default what the device compiles")
_GROWTH = flags.DEFINE_string("growth", None, "a case that is varied in Gaussians, pixels and cameras")
_REPORT = flags.DEFINE_string("report", None, "a folder for report.html and results.json")
_CORES = flags.DEFINE_list(
    "cores", [], "pin to so many cores; several numbers: a process for each, and a comparison with the first"
)


def main(argv: Sequence[str]) -> None:
    """Prints the tables, and writes the report where --report is given."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    try:
        cases = [parse(text) for text in dict.fromkeys(_CASES.value)]
        growth = parse(_GROWTH.value) if _GROWTH.value else None
        cores = [int(text) for text in _CORES.value]
    except ValueError as error:
        raise app.UsageError(str(error)) from error
    if _CLOCK.value == "cpu" and max(cores, default=1) > 1:
        raise app.UsageError("--clock=cpu adds up the time of all cores; compare cores with --clock=wall.")
    if len(cores) > 1:
        _compare_cores(cores)
        return
    if cores:
        pin(cores[0])
    memory.reuse_freed_memory()
    # Else compile times could be those of a read.
    jax.config.update("jax_enable_compilation_cache", False)
    if _CLOCK.value == "cpu" and jax.default_backend() != "cpu":
        raise app.UsageError(f"--clock=cpu does not see the {jax.default_backend()} work; use --clock=wall.")
    clock = time.process_time if _CLOCK.value == "cpu" else time.perf_counter
    results = run(cases, growth, clock)
    if _REPORT.value:
        raster_plots.write(_REPORT.value, results)
        print(f"written: {Path(_REPORT.value) / 'report.html'} and results.json")


def run(cases: Sequence[Case], growth: Case | None, clock: Callable[[], float]) -> raster_report.Results:
    """Measures the cases and the growth about one of them, and prints tables as they come."""
    names = tuple(_NAMES.value) or raster_measure.implementations()
    settings = raster_measure.Settings(clock, _REPEATS.value, raster_roofline.measure(clock))
    peers, notes = raster_peers.available(_PEER.value)
    print(machine(), *notes, sep="\n", flush=True)
    records, batches = [], []
    for case in cases:
        found = raster_measure.measure([case], names, settings, peers)
        several = (
            raster_measure.measure_batches(case, names, [_CAMERAS.value], settings) if _CAMERAS.value else []
        )
        columns, rows = raster_report.table(found, several)
        lines = raster_report.text(columns, rows).splitlines()
        print("\n".join(lines if not records else lines[2:]), flush=True)
        records += found
        batches += several
    for record in records:
        for sentence in raster_report.agreement(record):
            print(sentence)
    grown = grow(growth, names, settings) if growth else raster_report.Growth()
    return raster_report.Results(machine(), settings.speed, records, batches, grown, notes)


def grow(case: Case, names: Sequence[str], settings: raster_measure.Settings) -> raster_report.Growth:
    """A quarter to four times the Gaussians, a quarter to twice the pixels a side, and 1 to 8 cameras.

    Prints a table for each axis as soon as it is measured.
    """
    sizes = [max(1, int(case.size * factor)) for factor in (0.25, 0.5, 1, 2, 4)]
    sides = [max(1, int(case.pixels * factor)) for factor in (0.25, 0.5, 1, 2)]
    axes: dict[str, Callable] = {
        "gaussians": lambda: raster_measure.measure(
            [case._replace(size=size) for size in dict.fromkeys(sizes)], names, settings
        ),
        "pixels": lambda: raster_measure.measure(
            [case._replace(pixels=side) for side in dict.fromkeys(sides)], names, settings
        ),
        "cameras": lambda: raster_measure.measure_batches(case, names, [1, 2, 4, 8], settings),
    }
    growth = raster_report.Growth()
    for axis, measure in axes.items():
        growth = dataclasses.replace(growth, **{axis: measure()})
        *_, (columns, rows) = raster_report.grown(growth).values()
        print(raster_report.text(columns, rows), flush=True)
    return growth


def pin(cores: int) -> None:
    """Keeps this process to the first `cores` cores that it may use. Only before JAX starts its threads."""
    if not hasattr(os, "sched_setaffinity"):
        raise app.UsageError("--cores works on Linux only; elsewhere leave it out.")
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= cores <= len(allowed):
        raise app.UsageError(f"--cores={cores}: this process may use {len(allowed)}.")
    os.sched_setaffinity(0, allowed[:cores])


def machine() -> str:
    """Device, cores, jax version and clock, in one line."""
    kind = jax.devices()[0].device_kind
    info = Path("/proc/cpuinfo")
    if kind == "cpu" and info.exists():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cores = len(os.sched_getaffinity(0))
        kind = f"{models[0] if models else 'cpu'}, {cores} core{'s' * (cores > 1)}"
    return f"{kind}, jax {jax.__version__}, {_CLOCK.value} clock, medians of {_REPEATS.value}"


def _compare_cores(cores: Sequence[int]) -> None:
    """XLA fixes its threads as it starts, so that every number of cores needs its own process."""
    rows, first = [], {}
    for count in cores:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(_REPORT.value, f"cores{count}") if _REPORT.value else Path(scratch)
            command = [sys.executable, "-m", "experiments.benchmarks.raster", *sys.argv[1:]]
            subprocess.run([*command, f"--cores={count}", f"--report={folder}"], check=True)
            records = json.loads((folder / "results.json").read_text())["records"]
        for record in records:
            case = Case(**record["case"])
            forward, gradient = record["forward"]["ms"], record["gradient"]["ms"]
            base = first.setdefault((case, record["implementation"]), (forward, gradient))
            row = [str(case), record["implementation"], str(count), f"{forward / base[0]:.2f}"]
            rows.append([*row, f"{gradient / base[1]:.2f}", f"{forward:.2f}", f"{gradient:.2f}"])
    columns = ["case", "implementation", "cores", f"forward over {cores[0]}", f"gradient over {cores[0]}"]
    print(raster_report.text([*columns, "forward ms", "gradient ms"], sorted(rows, key=lambda row: row[:2])))


if __name__ == "__main__":
    app.run(main)
