"""A command from start to exit code: options from flags, a user's mistake as a sentence."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import absl.flags
from absl import app, logging

from zero1a_jax import config
from zero1a_jax.commandline import environment, flags, memory, stopping
from zero1a_jax.errors import Refused

Options = TypeVar("Options")
FLAGFILE = "--flagfile=FILE, a path or the name of one that comes along, reads flags from a file, one a line."


def run(
    kind: type[Options],
    main: Callable[[Options], int | None],
    text: str | None,
    *,
    problems: Callable[[Options], list[str]] = config.out_of_range,
) -> None:
    """Parses sys.argv, calls `main` and exits: 0 done, 1 it failed with a clear reason, 2 wrong options, 130
    or 143 where Ctrl-C or SIGTERM ended it.

    Args:
      kind: a frozen dataclass of options (`config.option`); dataclasses in it bring theirs.
      main: does the work; may return another exit code.
      text: what --help says before the flags.
      problems: what is wrong with the options, as far as it is known before `main`; all of it is told.
    """

    def parse(arguments: list[str]) -> Options:
        if any(argument in ("-h", "-help", "--help", "--helpfull") for argument in arguments):
            print(f"{(text or '').strip()}\n\n{flags.help_text(kind)}\n\n{FLAGFILE}")
            sys.exit(0)
        try:
            options = flags.read(kind, arguments[1:], absl.flags.FLAGS)
        except Refused as error:
            fail(error, 2)
        if absl.flags.FLAGS["verbosity"].using_default_value:
            absl.flags.FLAGS.verbosity = logging.WARNING  # else absl's runner lets jax's own news through
        return options

    def guarded(options: Any) -> int | None:
        memory.reuse_freed_memory()
        try:
            found = problems(options)
            for line in found:
                print(f"error: {line}", file=sys.stderr)
            return 2 if found else main(options)
        except (Refused, OSError) as error:  # anything else is a fault of ours and keeps its traceback
            fail(error, 1)
        except stopping.Stopped as stopped:
            print(f"error: {stopped}", file=sys.stderr)
            stopping.leave(stopped.code)
        finally:
            stopping.finish()

    stopping.listen()
    environment.forget_empty_home()  # before flags with ~ are read
    os.environ["JAX_ENABLE_X64"] = "false"  # before jax is imported: the programs are float32's
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack the letters of a path
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app.run(guarded, flags_parser=parse)


def fail(error: BaseException, code: int) -> NoReturn:
    """Prints a reason and exits."""
    print(f"error: {sentence(error)}", file=sys.stderr)
    sys.exit(code)


def sentence(error: BaseException) -> str:
    """What an error says: of the system's errors the file and the reason, without their numbers."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return str(error)
