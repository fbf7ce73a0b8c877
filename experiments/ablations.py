"""The ablation table: how much of the result each part of the method earns, on held-out identities.

  python -m experiments.ablations --seeds=1001,1002,1003,1004 --out=runs/ablations --flagfile=quickstart.flags

All flags of a run are flags here too and are what the variants share. For each identity (a portrait of
synthetic:SEED) and each variant it makes a run in a folder of its own, OUT/SEED/VARIANT, then measures it.
Everything resumes: the same command goes on where it was interrupted. The comparison is paired: the same
identity, view and expression under two variants.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zero1a_jax import config as values
from zero1a_jax import files, record
from zero1a_jax.commandline import command, subrun
from zero1a_jax.config import Config, option
from zero1a_jax.errors import Refused

VARIANTS: dict[str, dict[str, Any]] = {
    "portrait only": {"dataset": "none"},
    "one-time dataset": {"dataset": "once"},
    "no progressive learning": {"progressive": False},
    "full": {},
}
TABLE = "table.md"


@dataclass(frozen=True)
class Options:
    """Which runs to compare."""

    seeds: tuple[str, ...] = option(("1001", "1002", "1003", "1004"), "Identities: seeds of synthetic:SEED.")
    out: str = option("", "Folder of the runs, OUT/SEED/VARIANT; finished ones are taken as they are.")
    variants: tuple[str, ...] = option(tuple(VARIANTS), "Which variants, by name.")
    pairs: int = option(24, "Held-out pairs of each identity.", low=1, high=240)
    overwrite: bool = option(False, "Replace also a table.md that others wrote or edited.")
    run: Config = Config()  # what all variants share


def folder_of(options: Options, seed: str, variant: str) -> Path:
    """Where a run lies."""
    return Path(options.out) / seed / variant.replace(" ", "_")


def config_of(options: Options, seed: str, variant: str) -> Config:
    """One run: what is shared, the variant, its identity and its folder."""
    own = {"image": f"synthetic:{seed}", "workdir": str(folder_of(options, seed, variant))}
    return values.from_values(values.to_values(options.run) | VARIANTS[variant] | own)


def main(options: Options) -> None:
    """Runs what is missing, measures it, writes table.md and prints it."""
    unknown = [name for name in options.variants if name not in VARIANTS]
    if unknown:
        raise Refused(f"--variants={unknown[0]}: choose from {', '.join(VARIANTS)}")
    if not options.out:
        raise Refused("give --out=FOLDER")
    bad = [seed for seed in options.seeds if not seed.isdigit()]
    if bad:
        raise Refused(f"--seeds={bad[0]}: seeds are whole numbers")
    record.refuse(options.out, [TABLE], overwrite=options.overwrite)
    from zero1a_jax.showing import evaluation, tables

    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in options.variants}
    for seed in options.seeds:
        for variant in options.variants:
            folder = folder_of(options, seed, variant)
            subrun.make(config_of(options, seed, variant))
            out = folder / "evaluation.jsonl"
            rows[variant] += evaluation.evaluate(folder, int(seed), out, pairs=options.pairs)
    text = tables.comparison_text(rows)
    with record.writing(options.out, [TABLE], overwrite=options.overwrite) as unfinished:
        files.write_text(unfinished / TABLE, text)
    print(text)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
