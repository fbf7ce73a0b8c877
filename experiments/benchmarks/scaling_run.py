"""One run of scaling.py, watched from outside.

  python -m experiments.benchmarks.scaling_run FLAGS --measured=FILE

FLAGS are those of experiments.run. The run is the same, but for its results, which are left out unless
--with_results asks for them. What is measured of a step, medians over all but the first:

  seconds   by the wall clock, from its start to the start of the next one where nothing else lay between
  host      CPU time of Python's thread in it: programs run in other threads, and waiting for them takes none
  cpu       CPU time of the whole process, which other work on the machine does not change
  bytes     that one device receives from the others; of a refresh: that one process receives

The first step and the first refresh compile; what compiles in the loop after them is counted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from experiments import run as experiment
from zero1a_jax import files
from zero1a_jax.commandline import command, environment
from zero1a_jax.config import Config, option
from zero1a_jax.training import checks

CLOCKS = {"seconds": time.monotonic, "host": time.thread_time, "cpu": time.process_time}
WHAT = ("steps", "refreshes")


@dataclasses.dataclass(frozen=True)
class Options:
    """A run, and where to write what was measured."""

    run: Config = Config()
    measured: str = option("", "The JSON file to write.")
    with_results: bool = option(False, "Renders the results too, and measures them.")


class Watch:
    """What is known of a run's steps and refreshes. `wall` is what the run's own clock counts."""

    def __init__(self) -> None:
        self.periods: dict[str, list[dict[str, float]]] = {name: [] for name in WHAT}
        self.received: dict[str, list[int]] = {name: [] for name in WHAT}
        self.late = 0  # compilations after the first step and the first refresh
        self._open = ""  # what is going on
        self._seen: set[str] = set()
        self._mark: tuple[str, dict[str, float]] | None = None

    @contextlib.contextmanager
    def block(self, what: str) -> Iterator[None]:
        """A step, a refresh, or something else."""
        begin = _now()
        if self._mark and self._mark[0] == what == "steps":  # nothing lay between
            self._add(what, self._mark[1], begin)
        self._mark, self._open = (what, begin), what
        if what in self.received:
            self.received[what].append(0)
        yield
        if what == "refreshes":
            self._add(what, begin, _now())
        self._seen.add(what)
        self._open = ""

    def _add(self, what: str, begin: dict[str, float], end: dict[str, float]) -> None:
        self.periods[what].append({name: end[name] - begin[name] for name in CLOCKS})

    def compiled(self) -> None:
        """Something was compiled, or read from the cache of compiled programs."""
        first = self._open in WHAT and self._open not in self._seen
        self.late += "steps" in self._seen and not first and self._open in ("", *WHAT)

    def exchanged(self, size: int) -> None:
        """So many bytes were received."""
        if self._open in WHAT:
            self.received[self._open][-1] += size

    def report(self) -> dict[str, Any]:
        """Medians, without the first of each."""
        found: dict[str, Any] = {"late_compilations": self.late}
        for what in WHAT:
            rest = self.periods[what][1:]
            found[what] = {name: median(each[name] for each in rest) if rest else None for name in CLOCKS}
            found[what]["slowest"] = max((each["seconds"] for each in rest), default=None)
            found[what] |= {"count": len(rest), "bytes": max(self.received[what], default=0)}
        return found


def _now() -> dict[str, float]:
    return {name: clock() for name, clock in CLOCKS.items()}


def watch(file: Path, *, with_results: bool) -> None:
    """Puts the watch where the run's clock is, and where devices and processes exchange."""
    import jax

    from zero1a_jax.training import dataset_update, goodput, programs, run

    seen = Watch()

    class Watched(goodput.Goodput):
        def _compiled(self, event: str, duration_secs: float, **named: Any) -> None:
            super()._compiled(event, duration_secs, **named)
            if event == goodput.COMPILE:
                seen.compiled()

        @contextlib.contextmanager
        def spent(self, what: str) -> Iterator[None]:
            with seen.block(what), super().spent(what):
                yield

        def write(self, step: int, ended: str = "killed") -> None:
            super().write(step, ended)
            kept = seen.report() | {"seconds": self.seconds, "ended": ended}
            done = {"steps": step, "refreshes": len(seen.periods["refreshes"])}
            often = sum((kept[what]["cpu"] or 0.0) * count for what, count in done.items())
            kept["once_cpu"] = time.process_time() - often  # start, compilation, first fill, results
            kept |= {"device": jax.devices()[0].device_kind, "devices": len(jax.devices())}
            files.write_json(file, kept)

    changed: Any = (run, programs, dataset_update)
    of_run, of_programs, of_update = changed
    of_run.Goodput = Watched
    of_programs.gathered = _counting(of_programs.gathered, seen)
    own = of_update.exchanged

    def exchanged(tree: Any, devices: Any) -> Any:
        made = own(tree, devices)
        seen.exchanged(_bytes(made) - _bytes(tree))
        return made

    of_update.exchanged = exchanged
    if not with_results:
        of_run.finish = lambda *_: {"portrait_psnr_masked": float("nan")}


def _counting(gathered: Callable, seen: Watch) -> Callable:
    def watched(count: int, devices: Any) -> Callable:
        join = gathered(count, devices)

        def call(made: list[Any]) -> Any:
            own = sum(_bytes(each) // _each_devices(each) for each in made)
            seen.exchanged((len(devices) - 1) * own)
            return join(made)

        return call

    return watched


def _each_devices(tree: Any) -> int:
    """The leading axis of a tree's leaves."""
    import jax

    return jax.tree.leaves(tree)[0].shape[0]


def _bytes(tree: Any) -> int:
    import jax

    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def main(options: Options) -> int:
    """As experiments.run, watched."""
    config = options.run
    environment.fix(
        host_devices=config.runner.host_devices or experiment.usual_devices(config),
        deterministic=config.runner.sums != "fast",
    )
    from zero1a_jax.training import run

    watch(Path(options.measured), with_results=options.with_results)
    return run.run(config)


if __name__ == "__main__":
    command.run(Options, main, __doc__, problems=lambda options: checks.problems(options.run))
