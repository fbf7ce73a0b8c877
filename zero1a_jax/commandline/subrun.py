"""A run in a process of its own, as other commands make them: its bits are those of the command `run`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from zero1a_jax import files
from zero1a_jax.commandline import flagfiles
from zero1a_jax.config import Config
from zero1a_jax.errors import Refused


def make(config: Config) -> None:
    """Makes the run, or goes on with it, unless it is finished. Refused where it fails."""
    folder = Path(config.runner.workdir)
    if (folder / "metrics.json").is_file():
        return
    print(f"running {folder}", flush=True)
    flags = folder.with_name(f"{folder.name}.flags")
    files.write_text(flags, flagfiles.text(config))
    command = [sys.executable, "-m", "zero1a_jax", "run", f"--flagfile={flags}"]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise Refused(f"the run in {folder} ended with exit code {code}; see its log there")
