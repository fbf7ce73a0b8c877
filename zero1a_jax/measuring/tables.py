"""Tables of an evaluation's rows: means by yaw and by strength of expression, and paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zero1a_jax.measuring import heldout

SIDE = (30.0, 60.0)  # the band of yaw that comparisons are about
STRENGTHS = {"0-1": (0.0, 1.0), "1-3": (1.0, 3.0), "3+": (3.0, np.inf)}  # % of the eyes' distance
GROUPS = [*(f"{low}-{high}" for low, high in heldout.BANDS), *(f"{name} %" for name in STRENGTHS)]
Means = dict[str, float | None]
# Heading and digits of every figure that a row may have.
FIGURES: dict[str, tuple[str, int]] = {
    "psnr": ("PSNR dB", 2),
    "ssim": ("SSIM", 3),
    "psnr_aligned": ("aligned dB", 2),
    "ssim_aligned": ("aligned SSIM", 3),
    "psnr_frame": ("frame dB", 2),
    "ssim_frame": ("frame SSIM", 3),
    "psnr_colour": ("colour dB", 2),
    "ssim_colour": ("colour SSIM", 3),
    "sharpness": ("sharpness", 2),
    "landmark_error": ("landmarks %", 2),
    "lpips": ("LPIPS", 3),
    "lpips_frame": ("frame LPIPS", 3),
    "clip_image": ("CLIP image", 3),
    "clip_text": ("CLIP text", 3),
    "detected": ("seen", 2),
    "detected_landmarks": ("seen landmarks %", 2),
    "detected_expression": ("seen expression", 3),
    "detected_pose": ("seen pose deg", 2),
    "face_identity": ("identity", 3),
}
PERCENT = ("landmark_error", "detected_landmarks")


def by_band(rows: Iterable[dict[str, Any]]) -> list[tuple[str, int, Means]]:
    """(band of yaw, how many rows, `means` of them), then the same over all."""
    rows = list(rows)
    groups = [
        (f"{low}-{high}", [r for r in rows if heldout.band(r["yaw"]) == f"{low}-{high}"])
        for low, high in heldout.BANDS
    ]
    return [(name, len(group), means(group)) for name, group in [*groups, ("all", rows)] if group]


def by_strength(rows: Iterable[dict[str, Any]]) -> list[tuple[str, int, Means]]:
    """(band of strength in %, how many rows, `means` of them); see `evaluation.compare`."""
    rows = list(rows)
    groups = [
        (name, [r for r in rows if low <= 100 * r["strength"] < high])
        for name, (low, high) in STRENGTHS.items()
    ]
    return [(name, len(group), means(group)) for name, group in groups if group]


def means(rows: Sequence[dict[str, Any]]) -> Means:
    """The mean of every figure that all rows have; None where it could not be told of any of them."""
    names = [name for name in FIGURES if all(name in row for row in rows)]
    found = {name: [row[name] for row in rows if row[name] is not None] for name in names}
    return {name: float(np.mean(values)) if values else None for name, values in found.items()}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The means of all rows and of each band of yaw, and the 95 % interval of the mean PSNR over people."""

    def one(chosen: list[dict[str, Any]], mean: Means) -> dict[str, Any]:
        low, high = interval(*_values(chosen, "psnr"))
        return {"pairs": len(chosen), **mean, "psnr_interval": [low, high]}

    *bands, (_, _, mean) = by_band(rows)
    by_yaw = {
        name: one([row for row in rows if heldout.band(row["yaw"]) == name], values)
        for name, _, values in bands
    }
    return {**one(list(rows), mean), "by_yaw": by_yaw}


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """The tables by band of yaw and by strength of expression, as plain text."""
    known = means(rows)
    shown = [(name, *FIGURES[name]) for name in FIGURES if known.get(name) is not None]
    widths = [max(len(head), 7) for _, head, _ in shown]

    def line(name: str, count: int | str, cells: Iterable[str]) -> str:
        return f"{name:>8} {count:>6}  " + "  ".join(
            f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)
        )

    def lines(title: str, groups: list[tuple[str, int, Means]]) -> list[str]:
        body = [
            line(name, count, (written(key, mean[key]) for key, *_ in shown)) for name, count, mean in groups
        ]
        return [line(title, "pairs", (head for _, head, _ in shown)), *body]

    text = lines("|yaw|", by_band(rows))
    if "strength" in rows[0]:
        text += ["", *lines("moved %", by_strength(rows))]
    return "\n".join(text)


def written(name: str, value: float | None) -> str:
    """A figure as tables show it."""
    if value is None:
        return "-"
    _, digits = FIGURES[name]
    return f"{100 * value:.{digits}f}" if name in PERCENT else f"{value:.{digits}f}"


class Table(NamedTuple):
    """A table under a title."""

    title: str
    head: list[str]
    body: list[list[str]]


def comparison(
    rows: Mapping[str, Sequence[dict[str, Any]]], more: Mapping[str, Mapping[str, str]] | None = None
) -> list[Table]:
    """Variants by figure, by yaw and by strength, then paired differences to the first variant.

    `more` has columns for the first table: by heading and variant, what stands there.
    """
    names = list(rows)
    by_group = {name: _by_group(measured) for name, measured in rows.items()}
    groups = [group for group in GROUPS if any(group in found for found in by_group.values())]
    body = [[name, *(by_group[name].get(group, "-") for group in groups)] for name in names]
    title = "PSNR in dB by degrees of yaw, and by how far the expression moves the landmarks"
    found = [_by_figure(rows, more or {}), Table(title, ["method", *groups], body)]
    for what, band in (("all pairs", (0.0, 90.0)), (f"{SIDE[0]:g} to {SIDE[1]:g} degrees of yaw", SIDE)):
        apart = {name: paired(rows[names[0]], rows[name], band) for name in names[1:]}
        body = [[name, *_difference(result)] for name, result in apart.items() if result is not None]
        if body:
            head = ["method", "pairs", "PSNR dB, mean (95 %)", "won", "SSIM"]
            found.append(Table(f"Paired differences to {names[0]}, {what}", head, body))
    return found


def _by_figure(rows: Mapping[str, Sequence[dict[str, Any]]], more: Mapping[str, Mapping[str, str]]) -> Table:
    known = {name: means(measured) for name, measured in rows.items()}
    shown = [f for f in FIGURES if any(mean.get(f) is not None for mean in known.values())]
    body = []
    for name, measured in rows.items():
        low, high = interval(*_values(measured, "psnr"))
        first, *others = [written(f, known[name].get(f)) for f in shown]
        last = [column.get(name, "-") for column in more.values()]
        body.append([name, first, f"{low:.2f} to {high:.2f}", *others, *last])
    head = ["method", "PSNR dB", "95 %", *(FIGURES[f][0] for f in shown[1:]), *more]
    return Table("Means over all pairs", head, body)


def markdown(tables: Iterable[Table]) -> str:
    """Tables in Markdown, each under its title."""
    parts = []
    for table in tables:
        lines = [table.head, ["---"] * len(table.head), *table.body]
        parts += [f"{table.title}:", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts) + "\n"


def _by_group(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """PSNR as tables show it, by band of yaw and of strength."""
    groups = by_band(rows)
    if "strength" in rows[0]:
        groups += [(f"{name} %", count, mean) for name, count, mean in by_strength(rows)]
    return {group: written("psnr", mean["psnr"]) for group, _, mean in groups}


def _difference(result: dict[str, Any]) -> list[str]:
    low, high = result["interval"]
    gain = f"{result['psnr']:+.2f} ({low:+.2f} to {high:+.2f})"
    return [str(result["count"]), gain, f"{result['won']} of {result['count']}", f"{result['ssim']:+.4f}"]


def _values(rows: Sequence[dict[str, Any]], figure: str) -> tuple[np.ndarray, np.ndarray]:
    """A figure [K] of the rows that have it, and whose they are [K]."""
    told = [row for row in rows if row[figure] is not None]
    return np.array([row[figure] for row in told]), np.array([row["identity"] for row in told])


def paired(
    base: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]], band: tuple[float, float] = SIDE
) -> dict[str, Any] | None:
    """Differences other - base over the pairs that both have within `band` of |yaw|; None without any.

    "interval" is that of the mean PSNR difference. Runs of several seeds are told apart by "seed".
    """
    mine = {_key(row): row for row in base}
    both = [
        (mine[key], row)
        for row in other
        if (key := _key(row)) in mine and band[0] <= abs(row["yaw"]) < band[1]
    ]
    if not both:
        return None
    gain = np.array([new["psnr"] - old["psnr"] for old, new in both])
    people = np.array([new["identity"] for _, new in both])
    return {
        "count": len(both),
        "psnr": float(gain.mean()),
        "interval": interval(gain, people),
        "won": int((gain > 0).sum()),
        "ssim": float(np.mean([new["ssim"] - old["ssim"] for old, new in both])),
    }


def interval(values: np.ndarray, people: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of `values` [K], of which `people` [K] says whose they are.

    A bootstrap over people and then their values (2000 draws, fixed seed), since those of one person are not
    independent.
    """
    groups = [values[people == person] for person in np.unique(people)]
    draw = np.random.default_rng(0)
    means = [
        np.concatenate(
            [draw.choice(groups[g], len(groups[g])) for g in draw.integers(0, len(groups), len(groups))]
        ).mean()
        for _ in range(2000)
    ]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _key(row: dict[str, Any]) -> tuple[int, int, int]:
    return row["identity"], row.get("seed", 0), row["pair"]
