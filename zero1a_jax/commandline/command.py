"""A command from start to exit code: options from flags, a user's mistake as a sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import absl.flags
from absl import app, logging

from zero1a_jax.commandline import flags, memory
from zero1a_jax.errors import Refused

Options = TypeVar("Options")


def run(kind: type[Options], main: Callable[[Options], int | None], text: str | None) -> None:
    """Parses sys.argv, calls `main` and exits: 0 done, 1 it failed with a clear reason, 2 wrong options.

    Args:
      kind: a frozen dataclass of options (`config.option`); dataclasses in it bring theirs.
      main: does the work; may return another exit code.
      text: what --help says before the flags.
    """

    def parse(arguments: list[str]) -> Options:
        if any(argument in ("-h", "-help", "--help", "--helpfull") for argument in arguments):
            print((text or "").strip() + "\n\n" + flags.help_text(kind))
            sys.exit(0)
        try:
            return flags.parse(kind, arguments[1:], absl.flags.FLAGS)
        except Refused as error:
            fail(error, 2)

    def guarded(options: Any) -> int | None:
        memory.reuse_freed_memory()
        if absl.flags.FLAGS["verbosity"].using_default_value:
            logging.set_verbosity(logging.WARNING)  # absl's runner lets jax's own news through
        try:
            return main(options)
        except (Refused, OSError) as error:  # anything else is a fault of ours and keeps its traceback
            fail(error, 1)

    app.run(guarded, flags_parser=parse)


def fail(error: Exception | str, code: int) -> NoReturn:
    """Prints a reason and exits."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(code)
