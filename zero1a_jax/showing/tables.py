"""Tables of an evaluation's rows: means by band of yaw, and paired differences between variants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zero1a_jax.showing import heldout
from zero1a_jax.showing.evaluation import METRICS

SIDE = (30.0, 60.0)  # the band of yaw that comparisons are about


def by_band(rows: Iterable[dict[str, Any]]) -> list[tuple[str, int, dict[str, float]]]:
    """(band of yaw, how many, mean of each metric), then the same over all."""
    rows = list(rows)
    groups = [
        (f"{low}-{high}", [r for r in rows if heldout.band(r["yaw"]) == f"{low}-{high}"])
        for low, high in heldout.BANDS
    ]
    return [
        (name, len(group), {metric: float(np.mean([row[metric] for row in group])) for metric in METRICS})
        for name, group in [*groups, ("all", rows)]
        if group
    ]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The means of all rows and of each band of yaw, and the 95 % interval of the mean PSNR over people."""

    def one(chosen: list[dict[str, Any]], mean: dict[str, float]) -> dict[str, Any]:
        psnr = np.array([row["psnr"] for row in chosen])
        low, high = interval(psnr, np.array([row["identity"] for row in chosen]))
        return {"pairs": len(chosen), **mean, "psnr_interval": [low, high]}

    *bands, (_, _, mean) = by_band(rows)
    by_yaw = {
        name: one([row for row in rows if heldout.band(row["yaw"]) == name], values)
        for name, _, values in bands
    }
    return {**one(list(rows), mean), "by_yaw": by_yaw}


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """The table by band of yaw, as plain text."""
    lines = ["   |yaw|  pairs  PSNR dB    SSIM  aligned dB    SSIM  sharpness  landmarks %"]
    for name, count, mean in by_band(rows):
        lines.append(
            f"{name:>8} {count:>6} {mean['psnr']:>8.2f} {mean['ssim']:>7.3f} {mean['psnr_aligned']:>11.2f} "
            f"{mean['ssim_aligned']:>7.3f} {mean['sharpness']:>10.2f} {100 * mean['landmark_error']:>12.2f}"
        )
    return "\n".join(lines)


def comparison_text(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Tables in Markdown: means by variant and band of yaw, then paired differences to the first variant."""
    lines = ["| variant | yaw | pairs | PSNR dB | SSIM | landmarks % |", "|---|---|---|---|---|---|"]
    for variant, measured in rows.items():
        for name, count, mean in by_band(measured):
            numbers = f"{mean['psnr']:.2f} | {mean['ssim']:.3f} | {100 * mean['landmark_error']:.2f}"
            lines.append(f"| {variant} | {name} | {count} | {numbers} |")
    names = list(rows)
    lines += ["", f"Paired difference to {names[0]} at {SIDE[0]:g} to {SIDE[1]:g} degrees of yaw:", ""]
    lines += ["| variant | pairs | PSNR dB, mean (95 % interval) | won | SSIM |", "|---|---|---|---|---|"]
    for variant in names[1:]:
        result = paired(rows[names[0]], rows[variant])
        if result is None:
            continue
        low, high = result["interval"]
        lines.append(
            f"| {variant} | {result['count']} | {result['psnr']:+.2f} ({low:+.2f} to {high:+.2f}) "
            f"| {result['won']} of {result['count']} | {result['ssim']:+.4f} |"
        )
    return "\n".join(lines) + "\n"


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
