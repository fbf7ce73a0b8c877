"""The study: methods x identities x seeds, measured against the truth of synthetic people.

  python -m experiments.study --identities=8 --seeds=2 --out=runs/study --flagfile=study.flags

All flags of a run are flags here too, and are what all runs share; docs/runs.md says what each method is.
Each run is one of --method, the full method without a part of it, or with the quickstart's levers (best), and
leaves OUT/METHOD/ID_SEED.json: the rows of `evaluate`, and the CPU time that both took. The same command goes
on where it was interrupted; --shard=I/N takes every N-th person, for N processes or machines that share OUT.
All runs of a process are made in it, so that those of a person compile once. Where all
results are there, OUT/table.csv gets their means and OUT/table.md those by method, with the differences to
the first method.
"""

from __future__ import annotations

import csv
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from zero1a_jax import config as values
from zero1a_jax import files, provenance, record
from zero1a_jax.commandline import command, environment, many, stopping
from zero1a_jax.config import Config, option
from zero1a_jax.errors import Refused
from zero1a_jax.training import checks

METHODS: dict[str, dict[str, Any]] = {
    "symgen": {},
    "best": {
        "inversion": False,
        "denoise_steps": 1,
        "noise_guidance": 1.0,
        "portrait_outranks": True,
        "texture_prior": True,
        "prior_share": 0.9,
    },
    "no_temporal": {"temporal": False},
    "no_spatial": {"spatial": False},
    "no_progressive": {"progressive": False},
    "one_time": {"method": "one_time"},
    "sds": {"method": "sds"},
    "ism": {"method": "ism"},
    "nfsd": {"method": "nfsd"},
    "portrait_only": {"method": "portrait_only"},
    "diffusion_only": {"method": "diffusion_only"},
}
GRIDS = ["person_0.png", "person_1.png"]  # pictures of the first people
DRAWN = ("psnr", "psnr_colour", "sharpness")  # over yaw
TABLES = ["index.html", "table.csv", "table.md", "cost.csv", *(f"{name}.svg" for name in DRAWN), *GRIDS]
WHOLE = {"inconsistency", "flicker"}  # figures of a run as a whole


@dataclass(frozen=True)
class Options:
    """Which runs to make."""

    identities: int = option(8, "How many people.", low=1, high=1000)
    first_identity: int = option(301, "SEED of the first one, as in synthetic:SEED.", low=0)
    seeds: int = option(2, "Runs of each person and method, with --seed from 0 on.", low=1, high=100)
    methods: tuple[str, ...] = option(tuple(METHODS), f"Of {', '.join(METHODS)}.")
    out: str = option("", "Folder of the results; the runs lie in OUT/runs.")
    shard: str = option("", "I/N: make every N-th run from run I on; /N or nothing: as a cluster says.")
    pairs: int = option(24, "Held-out pairs of each person.", low=1, high=24)
    overwrite: bool = option(False, "Replace tables that others wrote or edited.")
    run: Config = Config()  # what all runs share


class Task(NamedTuple):
    """One run."""

    method: str
    identity: int
    seed: int

    def within(self, folder: str | Path) -> Path:
        """Its place within a folder."""
        return Path(folder) / self.method / f"{self.identity}_{self.seed}"


def tasks(options: Options) -> list[Task]:
    """All runs, person by person, since the runs of a person share compiled programs."""
    people = range(options.first_identity, options.first_identity + options.identities)
    return [Task(m, person, s) for person in people for s in range(options.seeds) for m in options.methods]


def share(options: Options) -> list[Task]:
    """The runs of this shard: those of every N-th person."""
    index, count = many.shard_of(options.shard, os.environ)
    return [task for task in tasks(options) if (task.identity - options.first_identity) % count == index]


def config_of(options: Options, task: Task) -> Config:
    """One run: what is shared, its method, person, seed and folder."""
    own = {
        "image": f"synthetic:{task.identity}",
        "seed": task.seed,
        "workdir": str(task.within(Path(options.out) / "runs")),
        "results": "avatar",
    }
    return values.from_values(values.to_values(options.run) | METHODS[task.method] | own)


def result_of(options: Options, task: Task) -> dict[str, Any]:
    """What a run left; it is made where it is missing, and measured where figures are."""
    from zero1a_jax.measuring import evaluation

    path = task.within(options.out).with_suffix(".json")
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    wanted = {*evaluation.METRICS, "strength"}
    if not (WHOLE <= set(found) and all(wanted <= set(row) for row in found["rows"])):
        begin = time.process_time()
        figures = _measured(options, task)
        spent = found.get("cpu_seconds", round(time.process_time() - begin, 1))  # of the run, made once
        found = {**task._asdict(), "cpu_seconds": spent, **figures}
        files.write_json(path, found)
    return found | {"rows": [row | {"seed": task.seed} for row in found["rows"]]}


def _measured(options: Options, task: Task) -> dict[str, Any]:
    """Makes the run, or finishes it, and measures what it left."""
    from zero1a_jax.measuring import evaluation, wholeness
    from zero1a_jax.training import run

    config = config_of(options, task)
    code = run.run(config)
    if code > 128:  # it saved, and this command ends by the same signal
        raise stopping.Stopped(code - 128)
    if code:
        raise Refused(f"the run in {config.runner.workdir} ended with exit code {code}; see its log there")
    folder, size = Path(config.runner.workdir), config.input.size
    rows = evaluation.evaluate(
        folder, task.identity, folder / "evaluation.jsonl", pairs=options.pairs, size=size
    )
    shown = evaluation.shown_in(folder, options.pairs, size)
    changes = wholeness.inconsistency(shown, task.identity, pairs=options.pairs, size=size)
    still = None if shown.loaded is None else wholeness.flicker(shown.loaded, task.identity, size=size)
    return {"inconsistency": changes, "flicker": still, "rows": rows}


def table_csv(results: list[dict[str, Any]]) -> str:
    """A line for each run and band of yaw: the means of all figures."""
    from zero1a_jax.measuring import evaluation, tables

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "identity", "seed", "yaw", "pairs", *evaluation.METRICS])
    for found in results:
        for band, count, mean in tables.by_band(found["rows"]):
            own = [found["method"], found["identity"], found["seed"], band, count]
            figures = (mean[name] for name in evaluation.METRICS)
            writer.writerow([*own, *("" if value is None else f"{value:.6g}" for value in figures)])
    return text.getvalue()


def compared(results: list[dict[str, Any]]) -> list[Any]:
    """The tables by method, with the differences to the first one."""
    from zero1a_jax.measuring import tables

    more = {
        "inconsistency": by_method(results, lambda found: found["inconsistency"], "{:.2f}"),
        "flicker": by_method(results, lambda found: found["flicker"], "{:.2f}"),
    }
    return tables.comparison(rows_of(results), more)


def cost_csv(results: list[dict[str, Any]]) -> str:
    """A line for each run: its CPU seconds with its measuring, which differ each time, unlike the tables."""
    lines = [f"{r['method']},{r['identity']},{r['seed']},{r['cpu_seconds']}" for r in results]
    return "\n".join(["method,identity,seed,cpu_seconds", *lines]) + "\n"


def rows_of(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """All rows of each method."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for found in results:
        rows.setdefault(found["method"], []).extend(found["rows"])
    return rows


def by_method(
    results: list[dict[str, Any]], figure: Callable[[dict[str, Any]], float | None], form: str
) -> dict[str, str]:
    """The median over the runs of each method, written; methods without are left out."""
    values: dict[str, list[float]] = {}
    for found in results:
        if (value := figure(found)) is not None:
            values.setdefault(found["method"], []).append(value)
    return {method: form.format(statistics.median(given)) for method, given in values.items()}


def main(options: Options) -> None:
    """Makes and measures this shard's runs; writes the tables where none is missing."""
    unknown = [name for name in options.methods if name not in METHODS]
    if unknown:
        raise Refused(f"--methods={unknown[0]}: choose from {', '.join(METHODS)}")
    if not options.out:
        raise Refused("give --out=FOLDER")
    if options.run.runner.process:
        raise Refused("--process is for one run: give each process of a study its --shard")
    record.refuse(options.out, TABLES, overwrite=options.overwrite)
    about = provenance.of_seed(options.run.runner.seed, label=options.run.runner.label)
    every, own = tasks(options), share(options)
    for task in every[: len(options.methods)]:  # the first of each method
        if found := checks.value_problems(config_of(options, task)):
            raise Refused(f"{task.method}: {found[0]}")
    environment.fix(
        host_devices=options.run.runner.host_devices or 1, deterministic=options.run.runner.sums != "fast"
    )
    for number, task in enumerate(own, 1):
        result_of(options, task)
        print(f"{number} of {len(own)}: {' '.join(map(str, task))}", flush=True)
    missing = [task for task in every if not task.within(options.out).with_suffix(".json").is_file()]
    if missing:
        print(f"{len(missing)} runs of other shards are missing; the same command writes the tables then")
        return
    write(options, [result_of(options, task) for task in every], about)


def write(options: Options, results: list[dict[str, Any]], about: provenance.Provenance) -> None:
    """Writes tables, plots, pictures and the page of all of them."""
    from zero1a_jax.measuring import pages, tables
    from zero1a_jax.outputs import curves, report

    found, grids = compared(results), pictures(options)
    spent = by_method(results, lambda run: run["cpu_seconds"], "{:.0f}")
    cost = tables.Table("CPU seconds of a run and its measuring, median", [*spent], [[*spent.values()]])
    drawn = {figure: pages.yaw_curves(rows_of(results), figure) for figure in DRAWN}
    text = tables.markdown(found)
    with record.writing(options.out, TABLES, overwrite=options.overwrite) as unfinished:
        files.write_text(unfinished / "table.csv", table_csv(results))
        files.write_text(unfinished / "table.md", text)
        files.write_text(unfinished / "cost.csv", cost_csv(results))
        for name, plot in drawn.items():
            files.write_text(unfinished / f"{name}.svg", curves.alone(plot.lines, plot.x_label, plot.y_label))
        for name, grid in grids.items():
            report.save_png(unfinished / name, grid, provenance=about)
        plots, shown = list(drawn.values()), list(grids.values())
        pages.study(unfinished / "index.html", [*found, cost], plots, shown, about)
    print(text)


def pictures(options: Options) -> dict[str, Any]:
    """The first people's runs with the first seed under the truth, by file name; those that are there."""
    from zero1a_jax.measuring import grids

    found = {}
    for offset, name in enumerate(GRIDS[: options.identities]):
        person = options.first_identity + offset
        chosen = {m: Task(m, person, 0).within(Path(options.out) / "runs") for m in options.methods}
        there = {method: folder for method, folder in chosen.items() if folder.is_dir()}
        found[name] = grids.grid(person, there, size=options.run.input.size)
    return found


if __name__ == "__main__":
    command.run(Options, main, __doc__)
