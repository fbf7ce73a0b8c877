"""Everything that a GPU can tell in ten minutes, in one command, what matters most first.

  pip install gsplat splax   (where there is a network: else the rasterizer is measured alone)
  python -m experiments.benchmarks.gpu --minutes=9 --out=FOLDER

  kernels     the Pallas kernels against XLA's, forward and gradient, with versions and devices (doctor)
  rasterizer  its time and memory beside gsplat and splax, where they are installed
  diffusion   the full-size networks: a denoising step and a dataset update
  quickstart  the whole method, to its report.html

Each is a process of its own with a time limit: its share of what is left, so that a part that ends early
leaves its time to the others. gpu.json and gpu.md are written after every part, each part's output as it
comes to NAME.log: what is killed leaves what it had. Exit code 1 where a part failed or was stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from zero1a_jax import files
from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused

SEES = "import jax; print(jax.default_backend(), jax.devices()[0].device_kind, jax.__version__, sep='|')"
PATIENCE = 10.0  # seconds that a stopped part has to save what it has
SHOWN = 60  # lines of a part's output on the page


class Part(NamedTuple):
    """What is run: `python -m` and its arguments, with OUT for the folder of its results."""

    name: str
    share: float  # of the time
    arguments: tuple[str, ...]


PARTS = (
    Part("kernels", 1.0, ("experiments.doctor", "--workdir=OUT")),
    Part("rasterizer", 3.0, ("experiments.benchmarks.raster", "--repeats=9", "--report=OUT/rasterizer")),
    Part(
        "diffusion",
        3.0,
        (
            "experiments.benchmarks.diffusion",
            "--sizes=512",
            "--programs=step,update",
            "--dtype=bfloat16",
            "--repeats=3",
        ),
    ),
    Part("quickstart", 2.0, ("experiments.run", "--flagfile=quickstart.flags", "--workdir=OUT/quickstart")),
)


@dataclasses.dataclass(frozen=True)
class Options:
    """How long, and where to."""

    minutes: float = option(9.0, "For all parts together.", low=0.01)
    out: str = option("", "Folder for gpu.json, gpu.md and what the parts write.")
    device: str = option("gpu", "cpu: on a CPU, to try this command itself.", choices=("gpu", "cpu"))
    parts: tuple[str, ...] = option(tuple(part.name for part in PARTS), "Which of them, in their order.")


def main(options: Options) -> int:
    """Runs the parts. Refused where there is no GPU."""
    begin = time.monotonic()
    unknown = sorted(set(options.parts) - {part.name for part in PARTS})
    if unknown or not options.out:
        raise Refused(f"there is no part {unknown[0]}." if unknown else "give --out=FOLDER")
    machine = seen(options.device, 60.0 * options.minutes)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    chosen = [part for part in PARTS if part.name in options.parts]
    for index, part in enumerate(chosen):
        left = 60.0 * options.minutes - (time.monotonic() - begin)
        limit = max(left, 0.0) * part.share / sum(other.share for other in chosen[index:])
        print(f"{part.name}: at most {limit:.0f} s", flush=True)
        results.append(made(part, out, limit, options.device))
        print(f"{part.name}: {results[-1]['ended']} after {results[-1]['seconds']:.0f} s", flush=True)
        write(out, machine, results)
    print(f"written: {out / 'gpu.md'} and gpu.json")
    return int(any(result["ended"] != "done" for result in results))


def seen(device: str, limit: float) -> dict[str, str]:
    """What jax sees, in a process of its own: this one must not hold the GPU's memory.

    Raises Refused where it is no GPU, or jax does not answer.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-c", SEES],
            env=environment(device),
            capture_output=True,
            text=True,
            timeout=max(limit, 60.0),
        )
    except subprocess.TimeoutExpired as error:
        raise Refused("jax did not say in time what devices there are.") from error
    found = answer.stdout.strip().rpartition("\n")[2].split("|")
    if answer.returncode or len(found) != 3:
        raise Refused(f"jax cannot start: {(answer.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    if device == "gpu" and found[0] != "gpu":
        raise Refused(f"there is no GPU: jax sees {found[0]} ({found[1]}) alone.")
    return dict(zip(("platform", "device", "jax"), found, strict=True))


def environment(device: str) -> dict[str, str]:
    """What the parts run with. splax needs SCIPY_ARRAY_API, see raster_peers.py."""
    return os.environ | {"SCIPY_ARRAY_API": "1"} | ({"JAX_PLATFORMS": "cpu"} if device == "cpu" else {})


def made(part: Part, out: Path, limit: float, device: str) -> dict[str, Any]:
    """One part, stopped by SIGTERM at its limit, killed if that does not end it; and how it ended."""
    arguments = [argument.replace("OUT", str(out)) for argument in part.arguments]
    log, begin = out / f"{part.name}.log", time.monotonic()
    with open(log, "wb") as file, _group([sys.executable, "-m", *arguments], file, device) as process:
        try:
            code = process.wait(limit)
            ended = "done" if code == 0 else f"failed with exit code {code}"
        except subprocess.TimeoutExpired:
            ended = f"stopped at its limit of {limit:.0f} s"
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
    return {
        "name": part.name,
        "command": " ".join(["python -m", *arguments]),
        "ended": ended,
        "seconds": round(time.monotonic() - begin, 1),
        "output": log.read_text("utf-8", "replace").splitlines(),
    }


@contextlib.contextmanager
def _group(line: list[str], log: Any, device: str) -> Iterator[subprocess.Popen]:
    """A process whose children end with it."""
    process = subprocess.Popen(
        line, env=environment(device), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def write(out: Path, machine: dict[str, str], results: list[dict[str, Any]]) -> None:
    """gpu.json and gpu.md of what there is so far."""
    files.write_json(out / "gpu.json", {"machine": machine, "parts": results})
    page = [f"# {machine['device']}, jax {machine['jax']}\n"]
    for result in results:
        page.append(f"## {result['name']}: {result['ended']}, {result['seconds']:.0f} s\n")
        page.append(f"`{result['command']}`\n")
        cut = result["output"][-SHOWN:]
        page.append("\n".join(["```", *cut, "```"]) + "\n")
    files.write_text(out / "gpu.md", "\n".join(page))


if __name__ == "__main__":
    command.run(Options, main, __doc__)
