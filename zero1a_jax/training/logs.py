"""What a run says while it goes on: progress lines, logs/metrics.jsonl and TensorBoard."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from zero1a_jax import files


class Log:
    """Progress of one run. `metrics.jsonl` keeps every logged step once, also over resumptions."""

    def __init__(self, folder: Path, *, steps: int, start: int):
        self._path = folder / "logs" / "metrics.jsonl"
        self._steps = steps
        _keep_before(self._path, start)
        self._file = open(self._path, "a", encoding="utf-8")
        self._text = open(folder / "logs" / "log.txt", "a", encoding="utf-8")
        # In this thread: tensorboardX's own waits forever for a thread that a full disk ended.
        self._board = EventsWriter(str(folder / "tensorboard" / "events"))
        if start:  # TensorBoard drops the events of later steps, which will run again
            self._event(start, session_log=SessionLog(status=SessionLog.START))
        self._mark = (time.monotonic(), start)
        self._open_line = False

    def say(self, text: str) -> None:
        """One line for the person at the terminal, and for logs/log.txt."""
        if self._open_line:
            print()
            self._open_line = False
        print(text, flush=True)
        self._text.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        self._text.flush()

    def began(self, step: int) -> None:
        """Starts the clock of speed and remaining time: what came before was compilation."""
        self._mark = (time.monotonic(), step)

    def step(self, step: int, values: dict[str, float]) -> None:
        """Logs the scalars of `step` and shows step, loss, speed and remaining time."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._event(step, summary=summary.scalar(name, value))
        self._board.flush()
        now, (before, at) = time.monotonic(), self._mark
        speed = (step - at) / max(now - before, 1e-6)
        self._mark = (now, step)
        remaining = (self._steps - step) / speed if speed > 0 else float("nan")
        line = f"step {step}/{self._steps}"
        line += "".join(f"  {name} {values[name]:.3f}" for name in ("loss", "psnr") if name in values)
        line += f"  {speed:.1f} it/s"
        if np.isfinite(remaining):
            line += f"  remaining {int(remaining) // 60}:{int(remaining) % 60:02d}"
        if sys.stdout.isatty():
            print(f"\r{line:<100}", end="", flush=True)
            self._open_line = True
        else:
            print(line, flush=True)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture, uint8 [H, W, 3], for TensorBoard."""
        self._event(step, summary=summary.image(name, image, dataformats="HWC"))

    def _event(self, step: int, **what: Any) -> None:
        self._board.write_event(Event(wall_time=time.time(), step=step, **what))

    def close(self) -> None:
        """Ends the progress line and closes the files."""
        if self._open_line:
            print()
        for file in (self._board, self._file, self._text):
            with contextlib.suppress(OSError):  # what a full disk does not take was told by `step`
                file.close()


class Follower:
    """What a process that does not lead the run says: into logs/process_N.txt alone."""

    def __init__(self, folder: Path, process: int):
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self._file = open(folder / "logs" / f"process_{process}.txt", "a", encoding="utf-8")

    def say(self, text: str) -> None:
        """One line with the time."""
        self._file.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        self._file.flush()

    def step(self, step: int, values: dict[str, float]) -> None:
        """The step and its loss."""
        self.say(f"step {step}" + "".join(f"  {name} {values[name]}" for name in ("loss",) if name in values))

    def began(self, step: int) -> None:
        """Nothing: the leading process has the clock."""

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Nothing: the leading process has the pictures."""

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def of_process(folder: Path, *, steps: int, start: int) -> Log | Follower:
    """The log of this process."""
    process = jax.process_index()
    return Follower(folder, process) if process else Log(folder, steps=steps, start=start)


def history(folder: Path) -> list[dict[str, Any]]:
    """The logged steps of a run, in order."""
    path = folder / "logs" / "metrics.jsonl"
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text("utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:  # a killed process leaves half a line; its step runs again
            continue
    return entries


def _keep_before(path: Path, start: int) -> None:
    """Drops the entries of steps beyond `start`: they will be logged again."""
    kept = [entry for entry in history(path.parent.parent) if entry["step"] <= start]
    files.write_text(path, "".join(json.dumps(entry) + "\n" for entry in kept))
