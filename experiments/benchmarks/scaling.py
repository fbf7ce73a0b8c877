"""A run on 1, 2, 4, ... devices of this machine's CPU, on processes, and what a pod would take.

  python -m experiments.benchmarks.scaling --flagfile=quickstart.flags --short=60 --out=FOLDER

With --devices=1,2,4,8 rows are of so many; with --processes=2 of two processes of so many each. The run is
that of the flags, with its schedule shrunk to --short steps; the portrait is prepared once, each row is a
process of its own (scaling_run.py says what it measures).
Devices of a CPU share its cores: beyond their number they show that nothing breaks, not that it is faster.
The model (scaling_model.py) takes one device's seconds from these rows, or from --pair_ms, --rest_ms and
--sample_ms of another device.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments import prepare
from experiments.benchmarks import raster_report, scaling_model
from experiments.benchmarks.scaling_model import Device, Link, Work
from zero1a_jax import files
from zero1a_jax.commandline import command, environment, flagfiles, subrun
from zero1a_jax.config import Config, from_values, option, to_values
from zero1a_jax.errors import Refused
from zero1a_jax.training.checks import value_problems

PROGRAM = (sys.executable, "-m", "experiments.benchmarks.scaling_run")
SCHEDULE = ("view_interval", "synthetic_start", "real_start", "density_start")
OFTEN = ("update_every", "density_every")
LEAST = 6  # steps from one of those to the next: medians are over steps that follow each other
COLUMNS = [
    "processes x devices",
    "step ms",
    "slowest",
    "CPU ms a step",
    "host ms",
    "host share",
    "refresh s",
    "MB a step",
    "MB a refresh",
    "late compilations",
]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure, and what of a pod is assumed."""

    run: Config = Config()
    short: int = option(60, "Steps of the shortened run; 0: as many as the flags say.", low=0)
    devices: tuple[str, ...] = option(("1", "2", "4", "8"), "XLA devices of each process, a row each.")
    processes: int = option(1, "Processes that share a run.", low=1)
    out: str = option("", "Folder for scaling.json, scaling.md and the runs.")
    pair_ms: float = option(0.0, "Of the modelled device: a pair with its gradient; 0: as measured.", low=0)
    rest_ms: float = option(0.0, "What is left of its step; 0: as measured.", low=0)
    sample_ms: float = option(0.0, "A sample of a dataset update; 0: as measured.", low=0)
    link_gbs: float = option(10.0, "GB a second into each device from the others; assumed.", low=1e-6)
    latency_us: float = option(
        30.0, "Microseconds of a step of an exchange, which are log2 D; assumed.", low=0
    )
    pod_batch: int = option(64, "Pairs of a step that fills a pod; steps are then fewer.", low=1)
    pod_samples: int = option(32, "Samples of an update that fills a pod; updates are then fewer.", low=1)


def main(options: Options) -> int:
    """Measures, models, and writes after every row. Returns 1 where a row failed."""
    if not options.out or not all(text.isdigit() and int(text) for text in options.devices):
        raise Refused("--out needs a folder, and --devices whole numbers, such as 1,2,4,8.")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    config = shortened(options.run, options.short)
    config, prepare_cpu = prepared(config, out)
    rows: list[dict[str, Any]] = []
    print(raster_report.text(COLUMNS, []), flush=True)
    for text in dict.fromkeys(options.devices):
        rows.append(measured(config, out, int(text), processes=options.processes, with_results=not rows))
        print(raster_report.text(COLUMNS, [cells(rows[-1])]).splitlines()[-1], flush=True)
        write(options, rows, prepare_cpu, out)
    print(f"written: {out / 'scaling.md'} and scaling.json")
    return int(any("failed" in row for row in rows))


def shortened(config: Config, steps: int) -> Config:
    """The run with its schedule shrunk to `steps` steps, so that each of its stages is still met."""
    if not steps or steps >= config.update.steps:
        return config
    values = to_values(config)
    for name in SCHEDULE:
        values[name] = max(values[name] * steps // values["steps"], 1)
    for name in OFTEN:
        values[name] = values[name] and max(values[name] * steps // values["steps"], LEAST)
    return from_values(values | {"steps": steps, "checkpoint_every": steps, "image_every": 0})


def prepared(config: Config, out: Path) -> tuple[Config, float]:
    """The run of a portrait that is prepared before, and the seconds of CPU time that this took."""
    given, begin = config.input, resource.getrusage(resource.RUSAGE_CHILDREN)
    if Path(given.image).is_dir() or given.fit == "true":
        return config, 0.0
    names = [field.name for field in dataclasses.fields(prepare.Options) if hasattr(given, field.name)]
    line = [f"--{name}={flagfiles.value_text(getattr(given, name))}" for name in names]
    code, why = subrun.call(["prepare", *line, f"--out={out / 'portrait'}"], out / "prepare.log")
    if code:
        raise Refused(f"the portrait could not be prepared: {why}")
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    values = to_values(config) | {"image": str((out / "portrait").absolute()), "mask": "", "face_index": 0}
    return from_values(values), seconds


def measured(
    config: Config, out: Path, devices: int, *, processes: int, with_results: bool
) -> dict[str, Any]:
    """One row: a run of its own. Its folder keeps what the run said."""
    folder = out / f"{processes}x{devices}"
    if folder.exists():
        raise Refused(
            f"{folder} is there already: a run that goes on cannot be measured; give another --out."
        )
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    for index in range(processes):
        own: dict[str, Any] = {"host_devices": devices, "workdir": str((folder / f"run{index}").absolute())}
        if processes > 1:
            own |= {"process": f"{index}/{processes}", "coordinator": address, "patience": 3600}
        made = from_values(to_values(config) | own)
        file = folder / f"{index}.flags"
        file.write_text(flagfiles.text(made), encoding="utf-8")
        line = [*PROGRAM, f"--flagfile={file}", f"--measured={folder / 'measured.json'}"]
        with open(folder / f"{index}.log", "wb") as log:
            started.append(
                subprocess.Popen(
                    line + ["--with_results"] * with_results, stdout=log, stderr=subprocess.STDOUT
                )
            )
    codes = [process.wait() for process in started]
    row: dict[str, Any] = {"processes": processes, "devices": devices}
    if any(codes) or not (folder / "measured.json").is_file():
        return row | {"failed": f"exit codes {codes}: see {folder / '0.log'}"}
    grown = (folder / "0.log").read_text("utf-8", "replace").count("the raster overflowed")
    return row | {
        "raster_grown": grown,
        "measured": json.loads((folder / "measured.json").read_text("utf-8")),
    }


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    name = f"{row['processes']} x {row['devices']}"
    if "failed" in row:
        return [name, row["failed"], *[""] * (len(COLUMNS) - 2)]
    found = row["measured"]
    step, refresh = found["steps"], found["refreshes"]
    late = f"{found['late_compilations']}"
    if row["raster_grown"]:
        late += f" (the raster grew {row['raster_grown']} times)"
    if not step["count"]:
        return [name, "too few steps", *[""] * (len(COLUMNS) - 2)]
    return [
        name,
        *(f"{1e3 * step[what]:.1f}" for what in ("seconds", "slowest", "cpu", "host")),
        f"{100 * step['host'] / step['seconds']:.1f} %",
        f"{refresh['seconds']:.2f}" if refresh["count"] else "",
        f"{step['bytes'] / 1e6:.2f}",
        f"{refresh['bytes'] / 1e6:.2f}",
        late,
    ]


def write(options: Options, rows: list[dict[str, Any]], prepare_cpu: float, out: Path) -> None:
    """scaling.json and scaling.md of what there is so far."""
    page = [
        f"# Scaling: {options.run.input.image}, {options.short or options.run.update.steps} steps, batch "
        f"{options.run.update.batch}, {options.run.refresh.samples_per_update} samples an update\n",
        f"Cores that it could use: {environment.cores()}. Forced devices share them, so there is "
        "nothing to gain beyond as many. The portrait's preparation took "
        f"{prepare_cpu:.0f} s of CPU time, compilation included.\n",
        raster_report.text(COLUMNS, [cells(row) for row in rows]),
    ]
    model = modelled(options, [row["measured"] for row in rows if "measured" in row], prepare_cpu)
    if model:
        page += text_of(model)
    files.write_text(out / "scaling.md", "\n".join(page) + "\n")
    files.write_json(out / "scaling.json", {"rows": rows, "model": model})


def modelled(options: Options, found: list[dict[str, Any]], prepare_cpu: float) -> dict[str, Any]:
    """The model's assumptions and tables; empty where nothing was measured that it could start from."""
    found = [each for each in found if each["steps"]["count"] and each["refreshes"]["count"]]
    if not found or options.processes > 1:
        return {}
    config, first = options.run, found[0]
    batch, count = config.update.batch, config.refresh.samples_per_update
    pair, rest = scaling_model.fitted([(each["devices"], each["steps"]["cpu"]) for each in found], batch)
    padded = -(-count // first["devices"]) * first["devices"]
    device = Device(
        pair=options.pair_ms / 1e3 or pair,
        rest=options.rest_ms / 1e3 or rest,
        sample=options.sample_ms / 1e3 or first["refreshes"]["cpu"] / padded,
        fixed=prepare_cpu + first["once_cpu"],
    )
    pair_bytes = max((pair_bytes_of(each, batch) for each in found), default=0.0)
    frames = config.curriculum.frames * config.input.size**2 * 4  # rgb and alpha, uint8
    own = Work(config.update.steps, batch, config.refresh.update_every, count, pair_bytes, float(frames))
    works = {"the flags": own, "as much work for a pod": own.filling(options.pod_batch, options.pod_samples)}
    link = Link(options.link_gbs * 1e9, options.latency_us / 1e6)
    alone = scaling_model.seconds(1, device, own, link)["all"]
    workers = [4**power for power in range(7)]
    return {
        "device": first["device"] if not options.pair_ms else "as --pair_ms, --rest_ms and --sample_ms say",
        "assumed": dataclasses.asdict(device) | dataclasses.asdict(link),
        "works": {name: dataclasses.asdict(work) for name, work in works.items()},
        "one avatar": {
            name: {str(d): scaling_model.seconds(d, device, work, link) for d in (2**i for i in range(7))}
            for name, work in works.items()
        },
        "avatars an hour": {
            str(n): [scaling_model.avatars_an_hour(n, portraits, alone) for portraits in (10_000, n * 1000)]
            for n in workers
        },
    }


def pair_bytes_of(found: dict[str, Any], batch: int) -> float:
    """Bytes of one pair's gathered gradients, from what a device received of the others' rounds."""
    rounds = (found["devices"] - 1) * -(-batch // found["devices"])
    return found["steps"]["bytes"] / rounds if rounds else 0.0


def text_of(model: dict[str, Any]) -> list[str]:
    """The model's part of the page."""
    assumed, out = model["assumed"], []
    out.append("\n## A model of a pod, nothing of it measured\n")
    out.append(
        f"Every device as one idle core of {model['device']}, in CPU time: a pair "
        f"{1e3 * assumed['pair']:.1f} ms, the rest of a step {1e3 * assumed['rest']:.1f} ms, a sample "
        f"{1e3 * assumed['sample']:.0f} ms; the portrait, compilation, first fill and results "
        f"{assumed['fixed']:.0f} s an avatar. Exchanges at {assumed['bandwidth'] / 1e9:g} GB/s into each "
        f"device with {1e6 * assumed['latency']:g} us for each of log2 D steps, and nothing overlapped. No "
        "time for stragglers, lost devices, or reading portraits and writing results.\n"
    )
    out.append("Whole avatars, one a device (--portraits), an hour:\n")
    rows = [[n, *(f"{value:.0f}" for value in both)] for n, both in model["avatars an hour"].items()]
    out.append(raster_report.text(["devices", "of 10,000 portraits", "of 1,000 a device"], rows))
    for name, table in model["one avatar"].items():
        work = model["works"][name]
        out.append(
            f"\nOne avatar, {name}: {work['steps']} steps of {work['batch']} pairs, "
            f"{work['samples']} samples every {work['update_every']} steps, in seconds:\n"
        )
        columns = ["devices", *next(iter(table.values()))]
        out.append(
            raster_report.text(
                columns, [[d, *(f"{v:.1f}" for v in row.values())] for d, row in table.items()]
            )
        )
    return out


def wrong(options: Options) -> list[str]:
    """What is wrong with the flags, before anything starts."""
    run = dataclasses.replace(options.run.runner, workdir=options.out)
    return value_problems(dataclasses.replace(options.run, runner=run))


if __name__ == "__main__":
    command.run(Options, main, __doc__, problems=wrong)
