"""Pages, tables and plots of what was measured: of one avatar, and of a study."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zero1a_jax import files, record
from zero1a_jax.measuring import heldout, tables
from zero1a_jax.outputs import report
from zero1a_jax.provenance import Provenance

NAMES = ["index.html", "rows.csv", "means.json"]


def refuse(folder: str | os.PathLike, *, overwrite: bool) -> None:
    """Raises Refused where `evaluation` would: to be told before anything slow starts."""
    record.refuse(folder, NAMES, overwrite=overwrite)


def evaluation(
    folder: str | os.PathLike,
    rows: Sequence[dict[str, Any]],
    whole: Mapping[str, Any],
    pictures: Sequence[np.ndarray] = (),
    *,
    overwrite: bool = False,
) -> None:
    """Writes index.html, rows.csv (a line a pair) and means.json of one avatar.

    Args:
      rows: of `evaluation.evaluate` or `capture.evaluate`. whole: figures of the avatar as a whole, by name.
      pictures: avatar and truth side by side, of some pairs, [H, W', 3] in 0..1.
    """
    found = tables.means(rows)
    sections = [
        report.Section("By degrees of yaw", [_table(tables.by_band(rows)), yaw_curves({"avatar": rows})]),
    ]
    if "strength" in rows[0]:
        title = "By strength of expression: how far it moves the landmarks, % of the eyes' distance"
        sections.append(report.Section(title, [_table(tables.by_strength(rows))]))
    if whole:
        sections.append(report.Section("The whole avatar", _figures(whole)))
    if pictures:
        shown = [report.Picture(np.asarray(picture), scale=2) for picture in pictures]
        sections.append(report.Section("Avatar, and truth to its right", shown))
    with record.writing(folder, NAMES, overwrite=overwrite) as unfinished:
        report.write(unfinished / "index.html", title="Evaluation", sections=sections)
        files.write_text(unfinished / "rows.csv", rows_csv(rows))
        files.write_json(unfinished / "means.json", {"pairs": len(rows), **found, **whole})


def study(
    path: str | os.PathLike,
    found: Sequence[tables.Table],
    curves: Sequence[report.Curves],
    grids: Sequence[np.ndarray],
    about: Provenance,
) -> None:
    """Writes the page of a study: tables, plots, and pictures of some people, which `grids.grid` made."""
    sections = []
    for table in found:
        body = [[cell.replace(" ", "\N{NO-BREAK SPACE}") for cell in row] for row in table.body]
        sections.append(report.Section(table.title, [report.Table(table.head, body)]))
    sections.append(report.Section("Over yaw", list(curves)))
    if grids:
        pictures = [report.Picture(grid) for grid in grids]
        sections.append(report.Section("The truth, then each method", pictures))
    report.write(path, title="Study", sections=sections, provenance=about)


def rows_csv(rows: Sequence[dict[str, Any]]) -> str:
    """A line a row, a column for every key of the first; what could not be told is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def yaw_curves(
    rows: Mapping[str, Sequence[dict[str, Any]]], figure: str = "psnr", caption: str = ""
) -> report.Curves:
    """A figure over the bands of |yaw|, a line a variant."""
    middles = [0.5 * (low + high) for low, high in heldout.BANDS]
    names = [f"{low}-{high}" for low, high in heldout.BANDS]
    lines = {}
    for variant, measured in rows.items():
        bands = {name: mean[figure] for name, _, mean in tables.by_band(measured)}
        values = [bands.get(name) for name in names]
        lines[variant] = (middles, [float("nan") if value is None else value for value in values])
    label = tables.FIGURES[figure][0]
    return report.Curves(lines, caption or f"{label} by yaw", "degrees of yaw", label)


def _table(groups: Iterable[tuple[str, int, tables.Means]]) -> report.Table:
    """A row a figure, a column a group."""
    groups = list(groups)
    shown = [name for name in groups[0][2] if any(mean[name] is not None for _, _, mean in groups)]
    head = ["", *(name.replace("-", "\N{NON-BREAKING HYPHEN}") for name, *_ in groups)]
    body = [
        [tables.FIGURES[key][0], *(tables.written(key, mean[key]) for *_, mean in groups)] for key in shown
    ]
    return report.Table(head, [["pairs", *(count for _, count, _ in groups)], *body])


def _figures(whole: Mapping[str, Any]) -> list[report.Table]:
    body = [[name, f"{value:.4g}" if isinstance(value, float) else value] for name, value in whole.items()]
    return [report.Table(["", ""], body)]
