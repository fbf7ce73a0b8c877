"""The ablation table: how much of the result each part of the method earns, on held-out identities.

  python -m experiments.ablations --seeds=1001,1002,1003,1004 --workdir=runs/ablations \
      --flagfile=experiments/flagfiles/quickstart.flags

For each identity (a portrait of synthetic:SEED) and each variant it calls experiments.run in a folder of its
own, then experiments.evaluate. Everything resumes: the same command goes on where it was interrupted. The
comparison is paired: the same identity, view and expression under two variants.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import command, evaluate
from experiments.config import option

VARIANTS = {
    "portrait only": ("--dataset=none",),
    "one-time dataset": ("--dataset=once",),
    "no progressive learning": ("--progressive=false",),
    "full": (),
}
SIDE = (30.0, 60.0)  # the band of yaw that the claim is about


@dataclass(frozen=True)
class Options:
    """Which runs to compare."""

    seeds: tuple[str, ...] = option(("1001", "1002", "1003", "1004"), "Identities: seeds of synthetic:SEED.")
    workdir: str = option(
        "", "Folder of the runs: WORKDIR/SEED/VARIANT; finished ones are taken as they are."
    )
    flagfile: str = option("experiments/flagfiles/quickstart.flags", "What all variants share.")
    variants: tuple[str, ...] = option(tuple(VARIANTS), "Which variants, by name.")
    pairs: int = option(24, "Held-out pairs of each identity.", low=1, high=240)
    extra: tuple[str, ...] = option((), "More flags for every run, such as steps=300,batch=2 (without --).")


def folder_of(options: Options, seed: str, variant: str) -> Path:
    """Where a run lies."""
    return Path(options.workdir) / seed / variant.replace(" ", "_")


def run_command(options: Options, seed: str, variant: str) -> list[str]:
    """The command line of one run."""
    shared = [f"--flagfile={options.flagfile}"] if options.flagfile else []
    return [
        sys.executable, "-m", "experiments.run", *shared, *(f"--{flag}" for flag in options.extra),
        *VARIANTS[variant], f"--image=synthetic:{seed}", f"--workdir={folder_of(options, seed, variant)}",
    ]  # fmt: skip


def main(options: Options) -> None:
    """Runs what is missing, measures it, writes table.md and prints it."""
    unknown = [name for name in options.variants if name not in VARIANTS]
    if unknown:
        raise command.Refused(f"--variants={unknown[0]}: choose from {', '.join(VARIANTS)}")
    if not options.workdir:
        raise command.Refused("give --workdir=FOLDER")
    bad = [seed for seed in options.seeds if not seed.isdigit()]
    if bad:
        raise command.Refused(f"--seeds={bad[0]}: seeds are whole numbers")
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in options.variants}
    for seed in options.seeds:
        for variant in options.variants:
            folder = folder_of(options, seed, variant)
            if not (folder / "metrics.json").is_file():
                print(f"running {variant} on identity {seed}", flush=True)
                code = subprocess.run(run_command(options, seed, variant), check=False).returncode
                if code:
                    raise command.Refused(
                        f"the run in {folder} ended with exit code {code}; see its log there"
                    )
            measured = evaluate.evaluate(
                folder, int(seed), folder / "evaluation.jsonl", evaluate.Options(pairs=options.pairs)
            )
            rows[variant] += measured
    text = report_text(rows)
    Path(options.workdir, "table.md").write_text(text, "utf-8")
    print(text)


def report_text(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Tables in Markdown: means by variant and band of yaw, then paired differences to the first variant."""
    lines = ["| variant | yaw | pairs | PSNR dB | SSIM | landmarks % |", "|---|---|---|---|---|---|"]
    for variant, measured in rows.items():
        for name, count, mean in evaluate.by_band(measured):
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
    import numpy as np

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


if __name__ == "__main__":
    command.run(Options, main, __doc__)
