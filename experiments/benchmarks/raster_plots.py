"""One page, report.html, with the benchmark's tables and a plot of each subject."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.benchmarks.raster_bars import bars
from experiments.benchmarks.raster_measure import Batch, Pass, Record
from experiments.benchmarks.raster_report import Growth, Results, agreement, as_json, grown, table
from experiments.benchmarks.raster_roofline import BACKWARD, OPERATIONS
from zero1a_jax import files
from zero1a_jax.outputs import report

_LEGEND = (
    "Medians. Of roofline: the least time for compositing over the time of compositing, forward and with the "
    "gradient; in all: over the time of everything, projection and lists included. Batch / loop: the "
    "gradient of so many cameras. Of two figures in a cell, the second is with the gradient."
)
# Title, unit, what of a pass is drawn, and where the line is.
_SUBJECTS: tuple[tuple[str, str, Callable[[Pass], float], float | None], ...] = (
    ("Time", "ms", lambda p: p.ms, None),
    ("Memory", "MB of temporaries; the line is at 64 MB", lambda p: p.temporaries_mb, 64.0),
    ("Compilation", "seconds, tracing included", lambda p: p.compile_s, None),
    ("Roofline", "share of the roofline that compositing reaches", lambda p: p.of_roofline, 1.0),
)


def write(folder: str | os.PathLike, results: Results) -> None:
    """Writes results.json and report.html into `folder`."""
    files.write_text(Path(folder) / "results.json", as_json(results) + "\n")
    sections = _cases(results) + _growth(results.growth)
    path = Path(folder) / "report.html"
    report.write(path, title="The rasterizer", subtitle=results.machine, sections=sections)


def _cases(results: Results) -> list[report.Section]:
    records = results.records
    if not records:
        return []
    peers = [sentence for record in records for sentence in agreement(record)]
    first = report.Table(*table(records, results.batches), _LEGEND)
    sections = [report.Section("Cases", [first, *peers, *results.notes])]
    if any(record.rivals for record in records):
        picture = bars(_over_rivals(records), "ours over theirs; below the line we are faster", mark=1.0)
        sections.append(report.Section("Against others", [report.Picture(picture)]))
    for title, unit, value, mark in _SUBJECTS:
        text = [_roofline(results)] if title == "Roofline" else []
        picture = report.Picture(bars(_by_case(records, value), unit, mark=mark))
        sections.append(report.Section(title, [*text, picture]))
    if results.batches:
        picture = bars(
            _over_loop(results.batches), "batch over loop; below the line the batch is faster", mark=1
        )
        sections.append(report.Section("Several cameras", [report.Picture(picture)]))
    return sections


def _roofline(results: Results) -> str:
    speed, first = results.speed, results.records[0]
    return (
        f"Measured in this run: an exp takes {speed.exp_ns:.3f} ns an element, a multiply-add "
        f"{speed.multiply_add_ns:.4f} ns. A pair of a pixel and a Gaussian costs one exp and {OPERATIONS} "
        f"multiply-adds forward, and {BACKWARD} times that backward. {first.case} needs "
        f"{first.pairs.evaluated:,} pairs, of which {first.pairs.drawn:,} add to a pixel."
    )


def _by_case(records: Sequence[Record], value: Callable[[Pass], float]) -> dict[str, dict[str, float]]:
    groups: dict[str, dict[str, float]] = {}
    for record in records:
        group = groups.setdefault(str(record.case), {})
        group[f"{record.implementation} forward"] = value(record.forward)
        group[f"{record.implementation} gradient"] = value(record.gradient)
    return groups


def _over_rivals(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    groups: dict[str, dict[str, float]] = {}
    for record in records:
        group = groups.setdefault(str(record.case), {})
        for rival in record.rivals:
            name = f"{record.implementation} / {rival.name}"
            group[f"{name} forward"] = record.forward.ms / rival.forward_ms
            group[f"{name} gradient"] = record.gradient.ms / rival.gradient_ms
    return groups


def _over_loop(batches: Sequence[Batch]) -> dict[str, dict[str, float]]:
    groups: dict[str, dict[str, float]] = {}
    for batch in batches:
        group = groups.setdefault(str(batch.case), {})
        group[f"{batch.implementation}, {batch.cameras} cameras"] = batch.over_loop
    return groups


def _growth(growth: Growth) -> list[report.Section]:
    tables = grown(growth)
    sections = []
    for axis, records in (("Gaussians", growth.gaussians), ("pixels a side", growth.pixels)):
        if not records:
            continue
        base = records[0].case
        fixed = f"{base.pixels} pixels a side" if axis == "Gaussians" else f"{base.size} Gaussians"
        blocks: list = [report.Table(*tables[axis], f"Scene {base.scene}, {fixed}; ratios to the first row.")]
        for title, unit, value, _ in _SUBJECTS:
            lines = _lines(records, axis, value)
            blocks.append(report.Curves(lines, f"{title}: {unit.split(';')[0]}", axis, title))
        sections.append(report.Section(f"Growth with {axis}", blocks))
    if growth.cameras:
        lines = {}
        for name in dict.fromkeys(batch.implementation for batch in growth.cameras):
            mine = [batch for batch in growth.cameras if batch.implementation == name]
            counts = [batch.cameras for batch in mine]
            lines[f"{name} batch"] = counts, [batch.batch_ms for batch in mine]
            lines[f"{name} loop"] = counts, [batch.loop_ms for batch in mine]
        caption = f"The gradient of {growth.cameras[0].case}, ms"
        blocks = [report.Table(*tables["cameras"]), report.Curves(lines, caption, "cameras", "ms")]
        sections.append(report.Section("Growth with cameras", blocks))
    return sections


def _lines(records: Sequence[Record], axis: str, value: Callable[[Pass], float]) -> dict:
    lines = {}
    for name in dict.fromkeys(record.implementation for record in records):
        mine = [record for record in records if record.implementation == name]
        at = [r.case.size if axis == "Gaussians" else r.case.pixels for r in mine]
        lines[f"{name} forward"] = at, [value(record.forward) for record in mine]
        lines[f"{name} gradient"] = at, [value(record.gradient) for record in mine]
    return lines
