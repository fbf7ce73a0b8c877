"""How far long work is: done of all, the rate, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

_TERMINAL, _FILE = 0.5, 10.0  # seconds between two reports: on a terminal, and in a log


def reporter(unit: str, *, clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """A function of (done, all) that prints lines such as "frames: 40 of 120, 8.1 a second, 10 s left".

    On stderr: one line that is written over on a terminal, a line every 10 s elsewhere. The rate starts at
    the first report, so that compilation is not taken for work.
    """
    terminal = sys.stderr.isatty()
    began: list[tuple[float, int]] = []
    printed = [0.0]

    def report(done: int, total: int) -> None:
        now = clock()
        if not began:
            began.append((now, done))
        last = done >= total
        if not last and now - printed[0] < (_TERMINAL if terminal else _FILE):
            return
        printed[0] = now
        line = line_of(unit, done, total, done - began[0][1], now - began[0][0])
        end = "\n" if last or not terminal else ""
        print(f"\r{line:<60}" if terminal else line, end=end, file=sys.stderr, flush=True)

    return report


def line_of(unit: str, done: int, total: int, counted: int, seconds: float) -> str:
    """The line for `done` of `total`, of which `counted` took `seconds`."""
    if counted < 1 or seconds <= 0:
        return f"{unit}: {done} of {total}"
    rate = counted / seconds
    left = (total - done) / rate
    time_left = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
    return f"{unit}: {done} of {total}, {rate:.3g} a second" + (f", {time_left} left" if done < total else "")
