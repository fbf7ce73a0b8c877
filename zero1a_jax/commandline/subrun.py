"""A run in a process of its own, as other commands make them: its bits are those of the command `run`."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from pathlib import Path

from zero1a_jax import files
from zero1a_jax.commandline import flagfiles, stopping
from zero1a_jax.config import Config
from zero1a_jax.errors import Refused

PROGRAM = (sys.executable, "-m", "zero1a_jax")
_ON_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of Linux


def make(config: Config) -> None:
    """Makes the run, or goes on with it, unless it is finished. Refused where it fails."""
    folder = Path(config.runner.workdir)
    if (folder / "metrics.json").is_file():
        return
    print(f"running {folder}", flush=True)
    flags = folder.with_name(f"{folder.name}.flags")
    files.write_text(flags, flagfiles.text(config))
    code, _ = call(["run", f"--flagfile={flags}"])
    if code:
        raise Refused(f"the run in {folder} ended with exit code {code}; see its log there")


def call(command: list[str], log: Path | None = None) -> tuple[int, str]:
    """Runs a command of this package to its end; returns its exit code and its last "error: " line.

    What it says goes to the terminal, or is added to `log`; then the line is known. A signal that ends this
    process is passed on, so that the command saves; so is this process's death, where the system can do so.
    """
    line = [*PROGRAM, *command]
    if log is None:
        return _wait(subprocess.Popen(line, start_new_session=True, preexec_fn=_die_with_parent)), ""
    with open(log, "ab") as file:
        start = file.tell()
        process = subprocess.Popen(
            line, stdout=file, stderr=file, start_new_session=True, preexec_fn=_die_with_parent
        )
        code = _wait(process)
    said = log.read_bytes()[start:].decode("utf-8", "replace").splitlines()
    errors = [text.removeprefix("error: ") for text in said if text.startswith("error: ")]
    return code, (errors or said or [""])[-1]


def _wait(process: subprocess.Popen) -> int:
    """In a session of its own it does not get the terminal's Ctrl-C too, which would be its second signal."""
    try:
        return process.wait()
    except stopping.Stopped as stopped:
        process.send_signal(stopped.code - 128)
        process.wait()
        raise


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_ON_PARENTS_DEATH, signal.SIGTERM)
