"""What the diffusion's frames cost and what the fit costs, against the truth of synthetic people.

  python -m experiments.decompose --people=7,8 --out=FOLDER --flagfile=quickstart.flags

For each person four runs: the avatar learns from the truth's frames or from the diffusion's, and stands on
its own true head, camera and matte or on the estimated ones; --frames=truth,model and --fit=true,estimated
choose. All start from one picture. All flags of a run are flags here too; --frames also takes the run's
number of frames. The same command goes on where it was interrupted. Every figure is told again after the
best shift and turn in the picture's plane. OUT/table.json has the means by cell, OUT/sheet.png the avatars
from several sides under the truth, OUT/PERSON/FRAMES_FIT the runs.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zero1a_jax import config as values
from zero1a_jax import files, provenance, record
from zero1a_jax.commandline import command, subrun
from zero1a_jax.config import Config, option
from zero1a_jax.errors import Refused

OUTPUTS = ["table.json", "sheet.png"]
TEACHERS = {"truth": "truth", "model": "diffusion"}


@dataclass(frozen=True)
class Options:
    """Which runs to make."""

    people: tuple[str, ...] = option(("7",), "Seeds of synthetic:SEED.")
    teachers: tuple[str, ...] = option(
        tuple(TEACHERS), "Whose frames: truth, model; also as --frames=truth,model."
    )
    fits: tuple[str, ...] = option(
        ("true", "estimated"), "Whose head: true, estimated; also as --fit=true,estimated."
    )
    out: str = option("", "Folder of the runs, the table and the sheet.")
    pairs: int = option(24, "Held-out pairs of each person.", low=1, high=240)
    overwrite: bool = option(False, "Replace a table and a sheet in --out that are not what was written.")
    run: Config = Config()  # what all cells share


def main(options: Options) -> None:
    """Makes the runs that are missing, measures them, writes table.json and sheet.png."""
    if not options.out:
        raise Refused("give --out=FOLDER")
    for name, given, known in (
        ("--people", [p for p in options.people if not p.isdigit()], "seeds are whole numbers"),
        ("--frames", sorted(set(options.teachers) - set(TEACHERS)), "choose from truth, model"),
        ("--fit", sorted(set(options.fits) - {"true", "estimated"}), "choose from true, estimated"),
    ):
        if given:
            raise Refused(f"{name}={given[0]}: {known}")
    record.refuse(options.out, OUTPUTS, overwrite=options.overwrite)
    about = provenance.of_seed(options.run.runner.seed, label=options.run.runner.label)
    import numpy as np

    from zero1a_jax.measuring import evaluation, tables
    from zero1a_jax.outputs import report
    from zero1a_jax.showing import sheets

    cells: dict[str, list[dict[str, Any]]] = {}
    rows = []
    for person in options.people:
        folders = {}
        for teacher in options.teachers:
            for fit in options.fits:
                folder = Path(options.out) / person / f"{teacher}_{fit}"
                own = {"image": f"synthetic:{person}", "workdir": str(folder), "fit": fit}
                own["teacher"] = TEACHERS[teacher]
                subrun.make(values.from_values(values.to_values(options.run) | own))
                measured = evaluation.evaluate(
                    folder, int(person), folder / "evaluation.jsonl", pairs=options.pairs
                )
                cells.setdefault(f"{teacher}/{fit}", []).extend(measured)
                folders[f"{teacher}/{fit}"] = folder
        rows += sheets.turned(int(person), folders)
        table = {cell: tables.summary(measured) for cell, measured in cells.items()}
        with record.writing(options.out, OUTPUTS, overwrite=options.overwrite) as unfinished:
            files.write_json(unfinished / "table.json", table)
            report.save_png(unfinished / "sheet.png", np.concatenate(rows), provenance=about)
    for cell, measured in cells.items():
        print(f"{cell}\n{tables.table_text(measured)}")


def untangled(arguments: list[str]) -> list[str]:
    """--frames and --fit as words are cells here; as a number or one word they are flags of the run."""
    out = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        words = set(value.split(","))
        if name == "--frames" and words <= set(TEACHERS):
            argument = f"--teachers={value}"
        elif name == "--fit":
            argument = f"--fits={value}"
        out.append(argument)
    return out


if __name__ == "__main__":
    sys.argv[1:] = untangled(sys.argv[1:])
    command.run(Options, main, __doc__)
