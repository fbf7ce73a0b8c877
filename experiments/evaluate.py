"""An avatar against the truth of its synthetic identity, on fixed held-out pairs of view and expression.

  python -m experiments.evaluate --avatar=runs/quickstart --identity=7

For avatars of runs with --image=synthetic:SEED, where the truth is known from every side. Every pair becomes
one JSON line in --out; pairs that are there already, for this very avatar, are not measured again. The truth
is rendered from the seed alone, the avatar from its export folder alone: both neutral in place, in canonical
frames of their own identity, so that errors of the fitted shape count too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import command
from experiments.config import option

METRICS = ("psnr", "ssim", "landmark_error")


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


def main(options: Options) -> None:
    """Measures what is missing and prints the table."""
    if not options.avatar:
        raise command.Refused("give --avatar=FOLDER")
    folder = Path(options.avatar)
    seed = options.identity if options.identity >= 0 else run_seed(folder)
    out = Path(options.out) if options.out else folder / "evaluation.jsonl"
    rows = evaluate(folder, seed, out, options)
    print(table_text(rows))
    print(f"{len(rows)} pairs in {out}")


def run_seed(folder: Path) -> int:
    """The synthetic identity of a run's folder, from its config.json. Refused where it had a real picture."""
    path = folder / "config.json"
    if not path.is_file():
        raise command.Refused(f"{path} is missing; give --identity=SEED")
    image = str(json.loads(path.read_text("utf-8")).get("image", ""))
    if not image.startswith("synthetic:"):
        raise command.Refused(
            f"the run's picture is {image!r}, whose truth nobody knows; evaluate synthetic:SEED"
        )
    return int(image.removeprefix("synthetic:"))


def evaluate(folder: Path, seed: int, out: Path, options: Options) -> list[dict[str, Any]]:
    """Measures the pairs that `out` lacks and returns all rows, in the order of the pairs."""
    from experiments import playback, truth

    loaded = playback.load(folder, options.flame)
    export = folder / "export" if (folder / "export").is_dir() else folder
    ply = export / "avatar.ply" if export.is_dir() else export
    stamp = {
        "identity": seed,
        "avatar": hashlib.sha256(ply.read_bytes()).hexdigest()[:16],
        "size": options.size,
        "supersample": options.supersample,
    }
    done = {row["pair"]: row for row in read_rows(out, stamp)}
    missing = [k for k in range(options.pairs) if k not in done]
    if missing:
        # A kill may have cut the last line: it is rewritten without, then lines are only added.
        from zero1a_jax.outputs import files

        files.write_text(out, "".join(json.dumps(row) + "\n" for row in read_rows(out, None)))
        with open(out, "a", encoding="utf-8") as file:
            for row in truth.compare(
                loaded, seed, missing, size=options.size, supersample=options.supersample
            ):
                done[row["pair"]] = {**stamp, **row}
                file.write(json.dumps(done[row["pair"]]) + "\n")
                file.flush()
    return [done[k] for k in range(options.pairs)]


def read_rows(path: Path, stamp: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The lines of a .jsonl, with `stamp`'s values where one is given; a last line that is cut is skipped."""
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").splitlines(keepends=True)
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise ValueError(f"{path}, line {number} is not JSON: {error}; remove the file") from error
    return [row for row in rows if stamp is None or all(row.get(k) == v for k, v in stamp.items())]


def by_band(rows: Iterable[dict[str, Any]]) -> list[tuple[str, int, dict[str, float]]]:
    """(band of yaw, how many, mean of each metric), then the same over all."""
    import numpy as np

    from experiments import heldout

    rows = list(rows)
    groups = [(f"{low}-{high}", [r for r in rows if heldout.band(r["yaw"]) == f"{low}-{high}"])
              for low, high in heldout.BANDS]  # fmt: skip
    return [
        (name, len(group), {metric: float(np.mean([row[metric] for row in group])) for metric in METRICS})
        for name, group in [*groups, ("all", rows)]
        if group
    ]


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """The table by band of yaw, as plain text."""
    lines = [f"{'|yaw|':>8} {'pairs':>6} {'PSNR dB':>8} {'SSIM':>7} {'landmarks %':>12}"]
    for name, count, mean in by_band(rows):
        landmarks = 100 * mean["landmark_error"]
        lines.append(f"{name:>8} {count:>6} {mean['psnr']:>8.2f} {mean['ssim']:>7.3f} {landmarks:>12.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
