"""Small commands: a frozen dataclass of options becomes absl flags, and errors become one sentence.

Only `experiments.run` has the flags of config.py; a command that renders or measures has its own few.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from absl import flags

from experiments import config as config_module
from experiments import memory

Options = TypeVar("Options")


class Refused(Exception):
    """What a command was asked cannot be done; the text says what to do."""


def parse(kind: type[Options], arguments: Sequence[str]) -> Options:
    """The options `kind` (fields made by `config.option`) from command-line arguments without the program.

    Raises:
      Refused: an unknown flag, a value of the wrong type or out of range, a stray argument.
    """
    registry = flags.FlagValues()
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    for field in fields:
        _define(field, registry)
    try:
        rest = registry(["command", *arguments])
    except flags.Error as error:
        raise Refused(str(error)) from error
    if len(rest) > 1:
        raise Refused(f"Stray argument {rest[1]!r}: all options are flags, --name=value.")
    values = {field.name: registry[field.name].value for field in fields}
    for field in fields:
        value, low, high = values[field.name], field.metadata["low"], field.metadata["high"]
        if isinstance(value, int | float) and not isinstance(value, bool) and not low <= value <= high:
            raise Refused(f"--{field.name}={value} must lie in {low:g} to {high:g}.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def run(kind: type[Options], main: Callable[[Options], Any], text: str | None) -> None:
    """Parses sys.argv, calls `main`, and exits: 0 done, 1 it failed with a clear reason, 2 wrong options."""
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help", "-help") for argument in arguments):
        registry = flags.FlagValues()
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            _define(field, registry)
        print((text or "").strip() + "\n" + registry.get_help())
        sys.exit(0)
    try:
        options = parse(kind, arguments)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    memory.reuse_freed_memory()
    try:
        main(options)
    except (Refused, ValueError, FileNotFoundError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _define(field: dataclasses.Field, registry: flags.FlagValues) -> None:
    default, text, choices = field.default, field.metadata["help"], field.metadata["choices"]
    if choices:
        flags.DEFINE_enum(field.name, default, choices, text, flag_values=registry)  # type: ignore[arg-type]
    elif isinstance(default, bool):
        flags.DEFINE_bool(field.name, default, text, flag_values=registry)
    elif isinstance(default, int):
        flags.DEFINE_integer(field.name, default, text, flag_values=registry)
    elif isinstance(default, float):
        flags.DEFINE_float(field.name, default, text, flag_values=registry)
    elif isinstance(default, tuple):
        flags.DEFINE_list(field.name, [str(item) for item in default], text, flag_values=registry)
    else:
        flags.DEFINE_string(field.name, str(default), text, flag_values=registry)


def colour(text: str) -> tuple[float, float, float]:
    """white, black or #rrggbb as r, g, b in 0..1. Refused for anything else."""
    value = config_module.colour(text)
    if value is None:
        raise Refused(f"--background={text} must be white, black or #rrggbb.")
    return value
