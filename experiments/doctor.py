"""What this machine has for a run: versions, devices, disk, assets, and a self-test of the kernels.

  python -m experiments.doctor --workdir=FOLDER --assets=FOLDER

Exit code 1 where something is in the way; each line that begins with "bad" says what.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from zero1a_jax.commandline import command, environment
from zero1a_jax.config import option


@dataclass(frozen=True)
class Options:
    """Where runs and assets are."""

    workdir: str = option("runs", "Folder that runs go to.")
    assets: str = option("", "Folder of other people's models; without it the variable ZERO1A_ASSETS.")


def main(options: Options) -> int:
    """Prints a line a finding; returns 1 where one is bad."""
    environment.fix(host_devices=1, deterministic=True)
    from zero1a_jax.cost import doctor  # imports jax

    assets = options.assets or os.environ.get("ZERO1A_ASSETS", "")
    bad = 0
    for fine, text in doctor.findings(Path(options.workdir), Path(assets) if assets else None):
        print(f"{'ok ' if fine else 'bad'}  {text}", flush=True)
        bad += not fine
    print(f"{bad} findings are bad" if bad else "all is fine")
    return int(bad > 0)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
