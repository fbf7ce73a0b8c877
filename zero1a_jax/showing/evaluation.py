"""An avatar's figures against the truth, kept line by line, and tables of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.showing import heldout, truth
from zero1a_jax.sources import avatars, portraits

METRICS = ("psnr", "ssim", "psnr_aligned", "ssim_aligned", "sharpness", "landmark_error")
SIDE = (30.0, 60.0)  # the band of yaw that comparisons are about


def run_seed(folder: Path) -> int:
    """The synthetic identity of a run's folder, from its config.json. Refused where it had a real picture."""
    path = folder / "config.json"
    if not path.is_file():
        raise Refused(f"{path} is missing; give --identity=SEED")
    image = str(json.loads(path.read_text("utf-8")).get("image", ""))
    if not portraits.is_synthetic(image):
        raise Refused(f"the run's picture is {image!r}, whose truth nobody knows; evaluate synthetic:SEED")
    return portraits.seed(image)


def evaluate(
    folder: Path,
    seed: int,
    out: Path,
    *,
    pairs: int = heldout.COUNT,
    size: int = 128,
    supersample: int = 3,
    flame: str = "",
) -> list[dict[str, Any]]:
    """Measures the pairs that `out` lacks and returns all rows, in the order of the pairs.

    Args:
      folder: of a finished run, or its export folder. seed: of the synthetic person that it shows.
      out: the .jsonl to append to; rows of other avatars, sizes or persons in it are left alone.
      pairs: how many of the fixed pairs. size: pixels a side.
      supersample: samples of the truth along each side of a pixel.
      flame: folder of the FLAME model that the avatar was made on.
    """
    loaded = avatars.load(folder, flame)
    export = folder / "export" if (folder / "export").is_dir() else folder
    ply = export / "avatar.ply" if export.is_dir() else export
    stamp = {
        "identity": seed,
        "avatar": files.sha256(ply)[:16],
        "size": size,
        "supersample": supersample,
    }
    done = {row["pair"]: row for row in read_rows(out, stamp) if set(METRICS) <= set(row)}
    missing = [k for k in range(pairs) if k not in done]
    if missing:
        # A kill may have cut the last line: it is rewritten without, then lines are only added.
        files.write_text(out, "".join(json.dumps(row) + "\n" for row in read_rows(out, None)))
        with open(out, "a", encoding="utf-8") as file:
            for row in truth.compare(loaded, seed, missing, size=size, supersample=supersample):
                done[row["pair"]] = {**stamp, **row}
                file.write(json.dumps(done[row["pair"]]) + "\n")
                file.flush()
    return [done[k] for k in range(pairs)]


def read_rows(path: Path, stamp: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The lines of a .jsonl, with `stamp`'s values where one is given; a last line that is cut is skipped."""
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").splitlines(keepends=True)
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("no row of ours")
            rows.append(row)
        except ValueError as error:
            if number < len(lines) or line.endswith("\n") or not line.startswith("{"):
                raise Refused(f"{path}, line {number}: {error}: give another --out") from error
    return [row for row in rows if stamp is None or all(row.get(k) == v for k, v in stamp.items())]


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
    """The means of all rows, and by band of yaw."""
    *bands, (_, count, mean) = by_band(rows)
    by_yaw = {name: {"pairs": number, **values} for name, number, values in bands}
    return {"pairs": count, **mean, "by_yaw": by_yaw}


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

    The interval of the mean PSNR difference is a bootstrap over identities and then pairs (2000 draws, fixed
    seed), since pairs of one identity are not independent.
    """
    mine = {(row["identity"], row["pair"]): row for row in base}
    both = [
        (mine[key], row)
        for row in other
        if (key := (row["identity"], row["pair"])) in mine and band[0] <= abs(row["yaw"]) < band[1]
    ]
    if not both:
        return None
    gain = np.array([new["psnr"] - old["psnr"] for old, new in both])
    people = np.array([new["identity"] for _, new in both])
    groups = [gain[people == identity] for identity in np.unique(people)]
    draw = np.random.default_rng(0)
    means = [
        np.concatenate(
            [draw.choice(groups[g], len(groups[g])) for g in draw.integers(0, len(groups), len(groups))]
        ).mean()
        for _ in range(2000)
    ]
    return {
        "count": len(both),
        "psnr": float(gain.mean()),
        "interval": (float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))),
        "won": int((gain > 0).sum()),
        "ssim": float(np.mean([new["ssim"] - old["ssim"] for old, new in both])),
    }
