"""An avatar against the truth of its synthetic identity, on fixed held-out pairs of view and expression.

  python -m experiments.evaluate --avatar=runs/quickstart --identity=7

For avatars of runs with --image=synthetic:SEED, where the truth is known from every side. Every pair becomes
one JSON line in --out; pairs that are there already, for this very avatar, are not measured again. The truth
is rendered from the seed alone, the avatar from its export folder alone: both neutral in place, in canonical
frames of their own identity, so that errors of the fitted shape count too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused


@dataclass(frozen=True)
class Options:
    """What to measure."""

    avatar: str = option("", "Folder of a finished run, or its export folder.")
    flame: str = option("", "Folder of the FLAME model that the avatar was made on; else the embedded head.")
    identity: int = option(
        -1, "SEED of the run's --image=synthetic:SEED; -1 reads it from the run's config.json."
    )
    out: str = option("", "The .jsonl to append to; default: evaluation.jsonl in the avatar's folder.")
    pairs: int = option(24, "How many of the fixed pairs.", low=1, high=240)
    size: int = option(128, "Side of the frames in pixels.", low=32, high=1024)
    supersample: int = option(3, "Samples of the truth along each side of a pixel.", low=1, high=8)
    wholeness: bool = option(False, "Also says how much of the head is covered and how it flickers.")


def main(options: Options) -> None:
    """Measures what is missing and prints the table."""
    if not options.avatar:
        raise Refused("give --avatar=FOLDER")
    from zero1a_jax.showing import evaluation, tables, wholeness
    from zero1a_jax.sources import avatars

    folder = Path(options.avatar)
    seed = options.identity if options.identity >= 0 else evaluation.run_seed(folder)
    out = Path(options.out) if options.out else folder / "evaluation.jsonl"
    rows = evaluation.evaluate(
        folder,
        seed,
        out,
        pairs=options.pairs,
        size=options.size,
        supersample=options.supersample,
        flame=options.flame,
    )
    print(tables.table_text(rows))
    print(f"{len(rows)} pairs in {out}")
    if options.wholeness:
        loaded = avatars.load(folder, options.flame)
        print(wholeness.text(wholeness.holes(loaded), wholeness.flicker(loaded, seed)))


if __name__ == "__main__":
    command.run(Options, main, __doc__)
