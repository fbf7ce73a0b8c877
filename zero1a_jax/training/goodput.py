"""How much of a run's wall time was work: goodput.json, one entry for each time that the run was started."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from zero1a_jax import files

KINDS = ("steps", "refreshes", "saves", "results", "compiling")
COMPILE = "/jax/core/compile/backend_compile_duration"  # jax's name of what it measures


class Goodput:
    """The clock of one start of a run. Of its steps, `redone` had been done and were lost with the process.

    `seconds` are of wall clock by what they went into: "steps", "refreshes", "saves", "results"; what is left
    of "wall" is the start. "compiling" is within the others.
    """

    def __init__(self, folder: Path, *, start: int, reached: int):
        self._path = folder / "goodput.json"
        self._earlier = json.loads(self._path.read_text("utf-8")) if self._path.is_file() else []
        self._begin = time.monotonic()
        self._entry: dict[str, Any] = {"from_step": start, "redone": max(reached - start, 0)}
        self.seconds: dict[str, float] = {name: 0.0 for name in KINDS}
        jax.monitoring.register_event_duration_secs_listener(self._compiled)

    def _compiled(self, event: str, duration_secs: float, **_: Any) -> None:
        self.seconds["compiling"] += duration_secs * (event == COMPILE)

    @contextlib.contextmanager
    def spent(self, what: str) -> Iterator[None]:
        """Counts the seconds of the block."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] += time.monotonic() - begin

    def write(self, step: int, ended: str = "killed") -> None:
        """Keeps what is known so far; `ended` stays where the process is killed after this."""
        seconds = self.seconds | {"wall": time.monotonic() - self._begin}
        entry = self._entry | {"to_step": step, "ended": ended}
        entry["seconds"] = {name: round(value, 2) for name, value in seconds.items()}
        files.write_json(self._path, [*self._earlier, entry])


def total(path: Path) -> dict[str, float]:
    """Sums over all starts: seconds by what they went into, and "goodput", which is 0..1.

    It is the share of "wall" that went into steps and refreshes, those that were redone counted once.
    """
    entries = json.loads(path.read_text("utf-8"))
    names = list(entries[0]["seconds"])
    sums: dict[str, float] = {name: sum(entry["seconds"][name] for entry in entries) for name in names}
    done = max(entry["to_step"] for entry in entries)
    redone = sum(entry["redone"] for entry in entries)
    useful = (sums["steps"] + sums["refreshes"]) * done / max(done + redone, 1)
    return sums | {"goodput": useful / max(sums["wall"], 1e-9)}
