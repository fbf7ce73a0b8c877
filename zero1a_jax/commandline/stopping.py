"""Ctrl-C and SIGTERM end a command in a sentence; a second signal ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The first signal came; what is unfinished is removed on the way out. `code` is the exit code."""

    def __init__(self, number: int):
        super().__init__(
            f"stopped by {signal.Signals(number).name} before it was done: the same command does it"
        )
        self.code = 128 + number


def listen() -> None:
    """Raises Stopped in the main thread at the first SIGINT or SIGTERM; exits at once at the second.

    Python's own handlers wait for a long call, such as a compilation, to return; the second signal does not.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True, name="signals").start()
    for number in SIGNALS:
        signal.signal(number, _stop)


def _stop(number: int, _frame: Any) -> NoReturn:
    raise Stopped(number)


def _watch(read: int) -> None:
    came = 0
    while True:
        number = os.read(read, 1)[0]
        came += number in SIGNALS
        if came == 2:
            os._exit(128 + number)
