"""An avatar against the truth of its synthetic identity, on fixed held-out pairs of view and expression.

  python -m experiments.evaluate --avatar=runs/quickstart --identity=7

For avatars of runs with --image=synthetic:SEED, where the truth is known from every side. Every pair becomes
one JSON line in --out; pairs that are there already, for this very avatar, are not measured again. The truth
is rendered from the seed alone, the avatar from its export folder alone: both neutral in place, in canonical
frames of their own identity, so that errors of the fitted shape count too.

  python -m experiments.evaluate --avatar=runs/me --against=CAPTURE --flame=FOLDER

Of a real person the truth is a capture: frames with FLAME parameters and cameras, as VHAP and GaussianAvatars
write them (docs/formats.md). --lpips_weights, --clip, --detect and --face_embedding ask other judges too;
--report=FOLDER writes a page, a table (.csv) and the means (.json).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused

PICTURES = 6  # in a report


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
    wholeness: bool = option(
        False, "Also says how much of the head is covered, how it flickers, and how it changes with the view."
    )
    against: str = option("", "Folder of a capture to compare with, instead of a synthetic person.")
    lpips_weights: str = option("", "Also LPIPS, with these weights (see docs/assets.md).")
    clip: str = option("", "Also CLIP scores, with the model in this folder (see docs/assets.md).")
    text: str = option("", "What the avatar shows, in a sentence, for the CLIP score with text.")
    detect: bool = option(False, "Also landmarks, expression and pose as a face detector sees them.")
    assets: str = option("", "Folder of MediaPipe's model for --detect; without, the embedded net.")
    face_embedding: str = option("", "Also identity, by module:function of yours: picture to vector.")
    report: str = option("", "A new folder for a page, a table and the means.")
    overwrite: bool = option(False, "Replace a report that others wrote or edited.")


def main(options: Options) -> None:
    """Measures what is missing and prints the table."""
    if not options.avatar:
        raise Refused("give --avatar=FOLDER")
    from zero1a_jax.measuring import evaluation, judges, pages, tables

    if options.report:
        pages.refuse(options.report, overwrite=options.overwrite)

    folder = Path(options.avatar)
    out = Path(options.out) if options.out else folder / "evaluation.jsonl"
    asked = judges.asked(
        judges.Asked(
            options.lpips_weights,
            options.clip,
            options.text,
            options.detect,
            options.assets,
            options.face_embedding,
        )
    )
    if options.against:
        from zero1a_jax.measuring import capture

        how: dict[str, Any] = {"pairs": options.pairs, "flame": options.flame, "judges": asked}
        rows, seed = capture.evaluate(folder, Path(options.against), out, **how), -1
    else:
        seed = options.identity if options.identity >= 0 else evaluation.run_seed(folder)
        how = {"pairs": options.pairs, "size": options.size, "supersample": options.supersample}
        rows = evaluation.evaluate(folder, seed, out, flame=options.flame, judges=asked, **how)
    print(tables.table_text(rows))
    print(f"{len(rows)} pairs in {out}")
    whole = _whole(options, folder, seed) if options.wholeness else {}
    if options.report:
        pictures = _pictures(options, folder, seed)
        pages.evaluation(options.report, rows, whole, pictures, overwrite=options.overwrite)
        print(Path(options.report) / "index.html")


def _whole(options: Options, folder: Path, seed: int) -> dict[str, float]:
    """Figures of the avatar as a whole, which are also printed."""
    from zero1a_jax.measuring import evaluation, wholeness
    from zero1a_jax.sources import avatars

    loaded = avatars.load(folder, options.flame)
    found: dict[str, Any] = wholeness.holes(loaded)
    if seed >= 0:
        found |= {
            "flicker": wholeness.flicker(loaded, seed),
            "inconsistency": wholeness.inconsistency(evaluation.of_avatar(loaded), seed),
        }
    print(wholeness.text(found))
    return found


def _pictures(options: Options, folder: Path, seed: int) -> list[Any]:
    """Avatar and truth side by side, of the first pairs."""
    import numpy as np

    from zero1a_jax.measuring import capture, evaluation
    from zero1a_jax.sources import avatars

    kept: list[Any] = []

    def keep(image: Any, truth: Any, mask: Any) -> dict[str, float | None]:
        kept.append(np.concatenate([image, truth], 1))
        return {}

    if options.against:
        frames = capture.held_out(Path(options.against), min(options.pairs, PICTURES))
        rows = capture.compare(avatars.load(folder, options.flame), frames, range(len(frames)), [keep])
    else:
        shown = evaluation.shown_in(folder, options.pairs, options.size, options.flame)
        chosen = range(min(options.pairs, PICTURES))
        rows = evaluation.compare(
            shown, seed, chosen, size=options.size, supersample=options.supersample, judges=[keep]
        )
    for _ in rows:
        pass
    return kept


if __name__ == "__main__":
    command.run(Options, main, __doc__)
