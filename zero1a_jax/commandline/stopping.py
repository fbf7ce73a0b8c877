"""Ctrl-C and SIGTERM end a command in a sentence; a second signal ends the process at once."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOST = 0.1  # seconds after which a signal that ended nothing is repeated
_raised: list[Callable[[], BaseException | None]] = []  # gives the last Stopped, as long as it is on its way


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
    A Stopped that others swallow, as destructors must, is raised anew. While something is imported it waits:
    an extension of C that cannot be set up whole takes the process down.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True, name="signals").start()
    sys.unraisablehook = _unraisable
    for number in SIGNALS:
        signal.signal(number, _stop)


def finish() -> None:
    """From here on the work is done, and a signal would only break off Python's own clearing up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def leave(code: int) -> NoReturn:
    """Exits without Python's clearing up: XLA may still compute, and falls over when its memory goes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _stop(number: int, frame: FrameType | None) -> None:
    if _raised and _raised[0]() is not None:
        return
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _raised[:] = [lambda: None]
            return
        frame = frame.f_back
    stopped = Stopped(number)
    _raised[:] = [weakref.ref(stopped)]
    try:
        raise stopped
    finally:
        del stopped  # its traceback holds this frame: a cycle would keep it after somebody swallowed it


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """A Stopped inside a destructor is no news: it is raised anew."""
    if not isinstance(lost.exc_value, Stopped):
        sys.__unraisablehook__(lost)


def _watch(read: int) -> None:
    number, came, repeated = 0, 0, 0
    main = threading.main_thread().ident or 0
    while True:
        if select.select([read], [], [], _LOST if came else None)[0]:
            number = os.read(read, 1)[0]
            came += number in SIGNALS
            if came - repeated == 2:
                os._exit(128 + number)
        elif _raised and _raised[0]() is None and signal.getsignal(number) is _stop:
            _raised.clear()
            repeated += 1
            signal.pthread_kill(main, number)
