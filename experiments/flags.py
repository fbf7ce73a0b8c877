"""Absl flags from the dataclasses of config.py, and flag files from a Config."""

from __future__ import annotations

from typing import Any

from absl import flags

from experiments import config as config_module
from experiments.config import Config


def define(registry: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for every option, once."""
    for field in config_module.options():
        if field.name in registry:
            continue
        default: Any = field.default
        text = field.metadata["help"]
        if field.metadata["choices"]:
            flags.DEFINE_enum(field.name, default, field.metadata["choices"], text, flag_values=registry)
        elif isinstance(default, bool):
            flags.DEFINE_bool(field.name, default, text, flag_values=registry)
        elif isinstance(default, int):
            flags.DEFINE_integer(field.name, default, text, flag_values=registry)
        elif isinstance(default, float):
            flags.DEFINE_float(field.name, default, text, flag_values=registry)
        elif isinstance(default, tuple):
            flags.DEFINE_list(field.name, [str(item) for item in default], text, flag_values=registry)
        else:
            flags.DEFINE_string(field.name, default, text, flag_values=registry)


def to_config(registry: flags.FlagValues = flags.FLAGS) -> Config:
    """The Config of the parsed flags."""
    values = {field.name: registry[field.name].value for field in config_module.options()}
    values["motions"] = tuple(values["motions"] or ())
    return config_module.from_values(values)


def flagfile(config: Config) -> str:
    """The text of a flag file that starts the same run again."""
    lines = ["# python -m experiments.run --flagfile=THIS_FILE"]
    for name, value in config_module.to_values(config).items():
        if not name.startswith("dry_"):
            lines.append(f"--{name}={_text(value)}")
    return "\n".join(lines) + "\n"


def differences(old: dict[str, Any], new: Config) -> list[str]:
    """One line for each flag that decides results and differs from the stored values of a run."""
    lines = []
    for name, value in config_module.to_values(new).items():
        stored = old.get(name)
        stored = tuple(stored) if isinstance(stored, list) else stored
        if name not in config_module.FREE and stored != value:
            lines.append(f"--{name}: was {_text(stored)}, now {_text(value)}")
    return lines


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(str(item) for item in value) if isinstance(value, tuple) else str(value)
