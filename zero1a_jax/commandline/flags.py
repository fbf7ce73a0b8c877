"""Absl flags from dataclasses of options, the one definer of flags."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, TypeVar

from absl import flags

from zero1a_jax import config
from zero1a_jax.commandline import flagfiles
from zero1a_jax.errors import Refused

Options = TypeVar("Options")


def define(kind: type, registry: flags.FlagValues) -> None:
    """Defines a flag for every option (`config.option`) of `kind` and of the dataclasses in it, once."""
    for field in config.options(kind):
        if field.name not in registry:
            _define(field, registry)


def parse(kind: type[Options], arguments: Sequence[str]) -> Options:
    """`read`, and Refused too for a number out of its range."""
    given = read(kind, arguments)
    wrong = config.out_of_range(given)
    if wrong:
        raise Refused(" ".join(wrong))
    return given


def read(kind: type[Options], arguments: Sequence[str], registry: flags.FlagValues | None = None) -> Options:
    """The options that command-line arguments, without the program's name, ask for, in range or not.

    --flagfile=FILE reads more of them from a file, one a line; see `flagfiles.find`. `registry` is absl's own
    for the one command of a process, which then takes absl's flags (--verbosity, --pdb, ...) too.

    Raises:
      Refused: an unknown flag, a value of the wrong type, a stray argument, a flag file that is not there.
    """
    registry = flags.FlagValues() if registry is None else registry
    define(kind, registry)
    try:
        rest = registry(["command", *flagfiles.found(arguments)])
    except flags.Error as error:
        raise Refused(str(error)) from error
    if len(rest) > 1:
        raise Refused(f"Stray argument {rest[1]!r}: all options are flags, --name=value.")
    values = {field.name: _plain(registry[field.name].value) for field in config.options(kind)}
    return config.from_values(values, kind)


def help_text(kind: type) -> str:
    """All flags of `kind` with their help, group by group."""
    parts = []
    own = [field for field in dataclasses.fields(kind) if not dataclasses.is_dataclass(field.default)]
    if own:
        parts.append(_group(own))
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default):
            inner: Any = type(field.default)
            head = (inner.__doc__ or "").splitlines()[0]
            nested = any(dataclasses.is_dataclass(f.default) for f in dataclasses.fields(inner))
            text = help_text(inner) if nested else _group(dataclasses.fields(inner))
            parts.append(f"{field.name}: {head}\n{text}")
    return "\n\n".join(parts)


def _group(fields: Sequence[dataclasses.Field]) -> str:
    registry = flags.FlagValues()
    for field in fields:
        _define(field, registry)
    lines = registry.get_help(include_special_flags=False).splitlines()
    return "\n".join(line for line in lines if line.startswith(" "))  # without the headings of modules


def _plain(value: Any) -> Any:
    """A flag's value as an option has it; a shell leaves the ~ of --flag=~/file to us."""
    if isinstance(value, list):
        return tuple(os.path.expanduser(item) for item in value)
    return os.path.expanduser(value) if isinstance(value, str) else value


def _define(field: dataclasses.Field, registry: flags.FlagValues) -> None:
    default: Any = field.default
    text, choices = field.metadata["help"], field.metadata["choices"]
    if choices:
        flags.DEFINE_enum(field.name, default, choices, text, flag_values=registry)
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
