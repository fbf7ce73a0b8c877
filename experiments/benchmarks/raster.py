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

from experiments.benchmarks import raster_measure, raster_peers, raster_plots, raster_report, raster_roofline
from experiments.benchmarks.raster_scenes import Case, parse
from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure, and how."""

    peer: str = option("", "A Python file with another rasterizer, see raster_peers.py.")
    cases: tuple[str, ...] = option(("10000@128", "10000@512", "50000@512"), "GAUSSIANS@PIXELS.")
    repeats: int = option(15, "Timed calls; the median counts.", low=1)
    clock: str = option(
        "wall", "cpu: the process's own time, for a busy machine and one core.", choices=("wall", "cpu")
    )
    cameras: int = option(4, "Cameras of the batch that is compared with a loop; 0: none.", low=0)
    implementations: tuple[str, ...] = option((), "xla, pallas; else what the device compiles.")
    growth: str = option("", "A case that is varied in Gaussians, pixels and cameras.")
    report: str = option("", "A folder for report.html and results.json.")
    cores: tuple[str, ...] = option(
        (), "Pin to so many cores; several numbers: a process for each, and a comparison with the first."
    )


def main(options: Options) -> None:
    """Prints the tables, and writes the report where --report is given."""
    cases = [parse(text) for text in dict.fromkeys(options.cases)]
    growth = parse(options.growth) if options.growth else None
    if not all(text.isdigit() for text in options.cores):
        raise Refused(f"--cores={','.join(options.cores)} must be whole numbers.")
    cores = [int(text) for text in options.cores]
    if options.clock == "cpu" and max(cores, default=1) > 1:
        raise Refused("--clock=cpu adds up the time of all cores; compare cores with --clock=wall.")
    if len(cores) > 1:
        _compare_cores(cores, options.report)
        return
    if cores:
        pin(cores[0])
    # Else compile times could be those of a read.
    jax.config.update("jax_enable_compilation_cache", False)
    if options.clock == "cpu" and jax.default_backend() != "cpu":
        raise Refused(f"--clock=cpu does not see the {jax.default_backend()} work; use --clock=wall.")
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    results = run(cases, growth, clock, options)
    if options.report:
        raster_plots.write(options.report, results)
        print(f"written: {Path(options.report) / 'report.html'} and results.json")


def run(
    cases: Sequence[Case], growth: Case | None, clock: Callable[[], float], options: Options
) -> raster_report.Results:
    """Measures the cases and the growth about one of them, and prints tables as they come."""
    names = options.implementations or raster_measure.implementations()
    settings = raster_measure.Settings(clock, options.repeats, raster_roofline.measure(clock))
    peers, notes = raster_peers.available(options.peer)
    described = machine(options)
    print(described, *notes, sep="\n", flush=True)
    records, batches = [], []
    for case in cases:
        found = raster_measure.measure([case], names, settings, peers)
        counts = [options.cameras] if options.cameras else []
        several = raster_measure.measure_batches(case, names, counts, settings) if counts else []
        columns, rows = raster_report.table(found, several)
        lines = raster_report.text(columns, rows).splitlines()
        print("\n".join(lines if not records else lines[2:]), flush=True)
        records += found
        batches += several
    for record in records:
        for sentence in raster_report.agreement(record):
            print(sentence)
    grown = grow(growth, names, settings) if growth else raster_report.Growth()
    return raster_report.Results(described, settings.speed, records, batches, grown, notes)


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
        raise Refused("--cores works on Linux only; elsewhere leave it out.")
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= cores <= len(allowed):
        raise Refused(f"--cores={cores}: this process may use {len(allowed)}.")
    os.sched_setaffinity(0, allowed[:cores])


def machine(options: Options) -> str:
    """Device, cores, jax version and clock, in one line."""
    kind = jax.devices()[0].device_kind
    info = Path("/proc/cpuinfo")
    if kind == "cpu" and info.exists():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cores = len(os.sched_getaffinity(0))
        kind = f"{models[0] if models else 'cpu'}, {cores} core{'s' * (cores > 1)}"
    return f"{kind}, jax {jax.__version__}, {options.clock} clock, medians of {options.repeats}"


def _compare_cores(cores: Sequence[int], report: str) -> None:
    """XLA fixes its threads as it starts, so that every number of cores needs its own process."""
    rows, first = [], {}
    for count in cores:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(report, f"cores{count}") if report else Path(scratch)
            program = [sys.executable, "-m", "experiments.benchmarks.raster", *sys.argv[1:]]
            subprocess.run([*program, f"--cores={count}", f"--report={folder}"], check=True)
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
    command.run(Options, main, __doc__)
