"""Runs a finished run again from its own folder and compares the bits.

  python -m experiments.reproduce WORKDIR

The run is made anew in WORKDIR_again (or --out) by the flags that its folder keeps; where its picture is gone
from the portrait that the folder keeps. Then portrait, parameters, dataset, frames of the videos and metrics
are compared bit for bit. Exit code 0: the same bits; 1: others.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from zero1a_jax import config as values
from zero1a_jax import files
from zero1a_jax.commandline import command, subrun
from zero1a_jax.config import Config, option
from zero1a_jax.errors import Refused


@dataclass(frozen=True)
class Options:
    """Which run, and where it is made again."""

    of: str = option("", "Folder of the finished run; also without --of=.")
    out: str = option(
        "", "Folder for the new run, which the same command goes on with; WORKDIR_again if empty."
    )
    host_devices: int = option(
        0, "XLA devices on a CPU for the new run; 0: as many as usual.", low=0, high=64
    )


def main(options: Options) -> int:
    """Makes the run, compares, prints what differs; returns the exit code."""
    if not options.of:
        raise Refused("give the folder of a finished run")
    old = Path(options.of)
    new = Path(options.out) if options.out else old.with_name(f"{old.name}_again")
    if not (old / "metrics.json").is_file():
        raise Refused(f"{old} holds no finished run: there is no metrics.json")
    config = again(old, new, options.host_devices)
    if not Path(config.input.image).exists() and ":" not in config.input.image:
        print("note: the picture is gone; the run starts from the portrait that its folder keeps")
        keep_portrait(old, new, config)
    subrun.make(config)
    from zero1a_jax.training import reproduction

    for line in reproduction.surroundings(old, new):
        print(f"note: {line}")
    count, found = reproduction.differences(old, new)
    for line in found:
        print(line)
    print(f"{count - len(found)} of {count} arrays, videos and metrics have the same bits")
    return int(bool(found))


def again(old: Path, new: Path, host_devices: int) -> Config:
    """The stored flags of the run in `old`, for one process that writes to `new`."""
    stored = json.loads((old / "config.json").read_text("utf-8"))
    own = {"workdir": str(new), "host_devices": host_devices, "process": "", "coordinator": ""}
    stored = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    return values.from_values(stored | own)


def keep_portrait(old: Path, new: Path, config: Config) -> None:
    """Begins the run in `new` with the portrait of `old`, unless it has begun."""
    if (new / "config.json").is_file():
        return
    new.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(old / "portrait.npz", new / "portrait.npz")
    files.write_json(new / "config.json", values.to_values(config))


if __name__ == "__main__":
    sys.argv[1:] = [text if text.startswith("-") else f"--of={text}" for text in sys.argv[1:]]
    command.run(Options, main, __doc__)
