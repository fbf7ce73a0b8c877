"""Many portraits: worker I of N makes every N-th avatar, each whole, in a process and a folder of its own.

Scheduling and retries are the cluster's: the workers know nothing of each other, and the same command again
does only what is missing. See docs/pods.md.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zero1a_jax import config as values
from zero1a_jax import files
from zero1a_jax.commandline import flagfiles, subrun
from zero1a_jax.config import Config
from zero1a_jax.errors import Refused

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".heic", ".heif", ".bmp", ".tif", ".tiff")
SUMMARY = ("summary.json", "summary.md")
BUSY = "another process writes"  # what a run says whose folder is taken, see lock.held
PATIENCE = (
    300  # seconds to wait, PAUSE by PAUSE, for a process that still saves, such as the run of a killed worker
)
PAUSE = 5
# Where clusters say which worker this is and of how many; None: they do not say how many.
_PLACES = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("JOB_COMPLETION_INDEX", None),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)


@dataclasses.dataclass(frozen=True)
class Task:
    """One avatar to make."""

    name: str  # of its folder
    image: str


def tasks(source: str) -> list[Task]:
    """The portraits of a folder of pictures, in the order of their names, or of a text file, one a line.

    Lines of a file are paths, from the file's folder where they are relative, or synthetic:SEED; empty ones
    and those with # in front do not count. A task's name is the place in the list and the picture's name.

    Raises Refused where there is no list or nothing in it.
    """
    path = Path(source)
    if path.is_dir():
        images = sorted(str(file) for file in path.iterdir() if _is_picture(file))
    elif path.is_file():
        try:
            lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise Refused(f"{source} is not a text file: --portraits needs one path a line") from error
        lines = [line for line in lines if line and not line.startswith("#")]
        images = [line if line.startswith("synthetic:") else str(path.parent / line) for line in lines]
    else:
        raise Refused(f"there is no list or folder at {source}: check --portraits")
    if not images:
        raise Refused(f"{source} names no portrait: check --portraits")
    digits = max(5, len(str(len(images))))
    return [Task(f"{i:0{digits}d}_{plain(image)}", image) for i, image in enumerate(images)]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURES and not file.name.startswith(".")


def plain(image: str) -> str:
    """The letters and digits of a picture's name, as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(image).stem).strip("-")[:60] or "portrait"


def shard_of(text: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """I and N of "I/N"; of "/N" or "" what is missing comes from the cluster's `environment`, else 0/1.

    Raises Refused where it is no such thing, or the cluster does not say it.
    """
    found = re.fullmatch(r"(\d*)/(\d+)|", text)
    if not found:
        raise Refused(f"--shard={text} must be I/N, such as 0/4 to 3/4, or /N where the cluster says I")
    index, count = found.groups()
    for place, of in _PLACES:
        if index or place not in environment:
            continue
        first = int(environment.get("SLURM_ARRAY_TASK_MIN", 0)) if "ARRAY" in place else 0
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1)) if "ARRAY" in place else 1
        index = str((int(environment[place]) - first) // step)
        count = count or environment.get(of or "", "")
        if not count:
            raise Refused(f"{place} says which worker this is, but not of how many: give --shard=/N")
    if count and not index:
        raise Refused(f"--shard={text}: nothing says which of the {count} this is: give I/N")
    index, count = int(index or 0), int(count or 1)
    if not 0 <= index < count:
        raise Refused(f"--shard={index}/{count}: the first number counts from 0 and is below the second")
    return index, count


def make(run: Config, every: list[Task], shard: tuple[int, int]) -> int:
    """Makes the shard's avatars that are not finished; returns 0, or 1 where some could not be made.

    Args:
      run: what they share; its workdir is the folder of all. every: see `tasks`. shard: I and N.
    """
    folder = Path(run.runner.workdir)
    own = every[shard[0] :: shard[1]]
    print(f"worker {shard[0]} of {shard[1]}: {len(own)} of {len(every)} portraits", flush=True)
    for number, task in enumerate(own, 1):
        begin = time.monotonic()
        before = state(folder, task)
        after = before if before["state"] == "done" else _make_one(run, folder, task)
        took = "" if after is before else f", {time.monotonic() - begin:.0f} s"
        print(f"{number}/{len(own)} {task.name}: {told(after)}{took}", flush=True)
    states = [state(folder, task) for task in own]
    failed = sum(found["state"] == "failed" for found in states)
    done = sum(found["state"] == "done" for found in states)
    print(f"{done} of {len(own)} avatars are done, {failed} failed", flush=True)
    return int(done < len(own))


def state(folder: Path, task: Task) -> dict[str, Any]:
    """Name, image and state (done, failed, begun, missing) of an avatar; why it failed, or its metrics."""
    found: dict[str, Any] = {"name": task.name, "image": task.image}
    metrics, reason = folder / task.name / "metrics.json", _log(folder, task).with_suffix(".failed")
    if metrics.is_file():
        measured = json.loads(metrics.read_text("utf-8"))
        wanted = (
            "portrait_psnr_masked",
            "portrait_alpha_iou",
            "portrait_landmark_error",
            "gaussians",
            "seconds",
        )
        return found | {"state": "done"} | {name: measured[name] for name in wanted if name in measured}
    if reason.is_file():
        return found | {"state": "failed", "reason": reason.read_text("utf-8").strip()}
    return found | {"state": "begun" if (folder / task.name).is_dir() else "missing"}


def told(found: dict[str, Any]) -> str:
    """A state in a few words."""
    if found["state"] == "done" and "portrait_psnr_masked" in found:
        return f"done, {found['portrait_psnr_masked']:.1f} dB at the portrait's view"
    return f"failed: {found['reason']}" if found["state"] == "failed" else found["state"]


def summary(folder: Path, every: list[Task]) -> str:
    """A table in Markdown of all avatars of the folder; `summary.json` has the same."""
    states = [state(folder, task) for task in every]
    counts = {
        kind: sum(found["state"] == kind for found in states)
        for kind in ("done", "failed", "begun", "missing")
    }
    lines = [", ".join(f"{count} {kind}" for kind, count in counts.items()), ""]
    lines += ["| portrait | state | PSNR dB, masked | alpha IoU | landmark error |", "|---|---|---|---|---|"]
    for found in states:
        text = found["state"] if found["state"] != "failed" else told(found).replace("|", "\\|")
        cells = [
            f"{found[name]:{form}}" if isinstance(found.get(name), float) else ""
            for name, form in (
                ("portrait_psnr_masked", ".1f"),
                ("portrait_alpha_iou", ".3f"),
                ("portrait_landmark_error", ".1%"),
            )
        ]
        lines.append("| " + " | ".join([found["name"], text, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _make_one(run: Config, folder: Path, task: Task) -> dict[str, Any]:
    """Runs one avatar to its end; what it says goes into logs/NAME.txt, why it failed into NAME.failed."""
    log = _log(folder, task)
    log.parent.mkdir(parents=True, exist_ok=True)
    failed = log.with_suffix(".failed")
    own = {"image": task.image, "workdir": str(folder / task.name)}
    flags = log.with_suffix(".flags")
    files.write_text(flags, flagfiles.text(values.from_values(values.to_values(run) | own)))
    waited = time.monotonic()
    while True:
        code, said = subrun.call(["run", f"--flagfile={flags}"], log)
        if not code:
            failed.unlink(missing_ok=True)
            return state(folder, task)
        if BUSY not in said or time.monotonic() - waited > PATIENCE:
            files.write_text(failed, f"{said or 'no reason given'} (exit code {code}; {log})\n")
            return state(folder, task)
        time.sleep(PAUSE)


def _log(folder: Path, task: Task) -> Path:
    return folder / "logs" / f"{task.name}.txt"


def main(run: Config, portraits: str, shard: str, mode: str) -> int:
    """Makes this worker's avatars, or writes and shows the table of all; returns the exit code."""
    every = tasks(portraits)
    folder = Path(run.runner.workdir)
    if mode == "summary":
        from zero1a_jax import record

        record.refuse(folder, SUMMARY, overwrite=False)
        text = summary(folder, every)
        with record.writing(folder, SUMMARY, overwrite=False) as unfinished:
            files.write_json(unfinished / SUMMARY[0], [state(folder, task) for task in every])
            files.write_text(unfinished / SUMMARY[1], text)
        print(text)
        return 0
    if run.input.image:
        print(f"the pictures are those of --portraits, not --image={run.input.image}", flush=True)
    return make(run, every, shard_of(shard, os.environ))


def problems(run: Config, portraits: str, shard: str) -> list[str]:
    """What is wrong with the command before it starts; each run has checks of its own."""
    found = []
    if not run.runner.workdir:
        found.append("--workdir is missing: give the folder of all runs.")
    # An --image is no mistake: flag files for one portrait have it, and the list's pictures take its place.
    if run.input.mask or run.input.caption:
        found.append("--mask and --caption are of one portrait: leave them out beside --portraits.")
    if run.runner.process:
        found.append("--portraits makes each avatar in one process: leave --process out.")
    try:
        tasks(portraits)
        shard_of(shard, os.environ)
    except Refused as error:
        found.append(f"{error}.")
    return found
