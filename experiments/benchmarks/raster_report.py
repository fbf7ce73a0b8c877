"""The benchmark's figures as tables and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from experiments.benchmarks.raster_measure import Batch, Record
from experiments.benchmarks.raster_roofline import Speed


@dataclasses.dataclass(frozen=True)
class Growth:
    """One case varied along one axis at a time."""

    gaussians: Sequence[Record] = ()
    pixels: Sequence[Record] = ()
    cameras: Sequence[Batch] = ()


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything that a run measured."""

    machine: str  # device, cores, jax version, clock
    speed: Speed
    records: Sequence[Record] = ()
    batches: Sequence[Batch] = ()
    growth: Growth = Growth()
    notes: Sequence[str] = ()  # which peers are missing, and why


def table(records: Sequence[Record], batches: Sequence[Batch] = ()) -> tuple[list[str], list[list[str]]]:
    """Columns and rows, ratios first; peers' columns are those of the first record."""
    over = {(b.case, b.implementation): b for b in batches}
    names = [rival.name for rival in records[0].rivals] if records else []
    columns = ["case", "implementation"]
    for name in names:
        columns += [f"forward / {name}", f"gradient / {name}"]
    columns += ["batch / loop", "of roofline", "of it in all", "forward ms", "gradient ms", "temporaries MB"]
    columns += ["compile s", *(f"{name} ms" for name in names)]
    return columns, [_row(record, over.get((record.case, record.implementation))) for record in records]


def _row(record: Record, batch: Batch | None) -> list[str]:
    f, g = record.forward, record.gradient
    row = [str(record.case), record.implementation]
    for rival in record.rivals:
        row += [f"{f.ms / rival.forward_ms:.2f}", f"{g.ms / rival.gradient_ms:.2f}"]
    row.append(f"{batch.over_loop:.2f} ({batch.cameras})" if batch else "-")
    row.append(f"{f.of_roofline:.0%}, {g.of_roofline:.0%}")
    row.append(f"{f.of_roofline_in_all:.0%}, {g.of_roofline_in_all:.0%}")
    row += [f"{f.ms:.2f}", f"{g.ms:.2f}", f"{f.temporaries_mb:.1f}, {g.temporaries_mb:.1f}"]
    row.append(f"{f.compile_s:.1f}, {g.compile_s:.1f}")
    return row + [f"{rival.forward_ms:.2f}, {rival.gradient_ms:.2f}" for rival in record.rivals]


def agreement(record: Record) -> list[str]:
    """A sentence for each peer: how far its picture is from ours."""
    return [
        f"{record.case}, {record.implementation} and {rival.name}: pictures differ by at most "
        f"{rival.largest_difference:.2g}, {rival.pixels_apart:.3%} of the pixels by more than 1/255"
        for rival in record.rivals
    ]


def text(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def grown(growth: Growth) -> dict[str, tuple[list[str], list[list[str]]]]:
    """A table for each axis, ratios to its first row before the figures."""
    tables = {}
    head = ["implementation", "forward", "gradient", "forward ms", "gradient ms", "temporaries MB"]
    for axis, records in (("Gaussians", growth.gaussians), ("pixels a side", growth.pixels)):
        first = {record.implementation: record for record in reversed(records)}
        rows = []
        for record in records:
            base, f, g = first[record.implementation], record.forward, record.gradient
            at = record.case.size if axis == "Gaussians" else record.case.pixels
            row = [str(at), record.implementation, f"x {f.ms / base.forward.ms:.2f}"]
            row += [f"x {g.ms / base.gradient.ms:.2f}", f"{f.ms:.2f}", f"{g.ms:.2f}"]
            rows.append([*row, f"{f.temporaries_mb:.1f}, {g.temporaries_mb:.1f}"])
        if rows:
            tables[axis] = [axis, *head], rows
    if growth.cameras:
        columns = ["cameras", "implementation", "batch / loop", "batch ms", "loop ms", "temporaries MB"]
        tables["cameras"] = (
            columns,
            [
                [
                    str(b.cameras),
                    b.implementation,
                    f"{b.over_loop:.2f}",
                    f"{b.batch_ms:.1f}",
                    f"{b.loop_ms:.1f}",
                ]
                + [f"{b.temporaries_mb:.1f}"]
                for b in growth.cameras
            ],
        )
    return tables


def as_json(results: Results) -> str:
    """All figures, with the ratios that follow from them."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            names += [k for k, v in vars(type(value)).items() if isinstance(v, property)]
            return {name: plain(getattr(value, name)) for name in names}
        if hasattr(value, "_asdict"):
            return value._asdict()
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    def ratios(record: Record) -> dict[str, Any]:
        over = {r.name: {"forward": record.forward.ms / r.forward_ms} for r in record.rivals}
        for rival in record.rivals:
            over[rival.name]["gradient"] = record.gradient.ms / rival.gradient_ms
        return plain(record) | {"over_rivals": over}

    return json.dumps(plain(results) | {"records": [ratios(record) for record in results.records]}, indent=1)
