"""Flag files: where one is found, and the text of one that starts a run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zero1a_jax import config
from zero1a_jax.config import Config
from zero1a_jax.errors import Refused


def commands() -> Path:
    """The folder of the commands, with flagfiles/: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def find(name: str) -> Path:
    """The flag file that `--flagfile=name` means: a path, else the name of one that comes with the package.

    Raises:
      Refused: neither.
    """
    shipped = commands() / "flagfiles"
    for path in (Path(name).expanduser(), shipped / name, shipped / f"{name}.flags"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.name for path in shipped.glob("*.flags")))
    raise Refused(f"There is no flag file {name}: give a path, or one of {known}.")


def found(arguments: Sequence[str]) -> list[str]:
    """The arguments with the paths of their flag files."""
    out, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            out.append(argument)
            continue
        if not equals:
            if not rest:
                raise Refused("--flagfile needs a file: --flagfile=FILE.")
            value = rest.pop(0)
        out.append(f"--flagfile={find(value)}")
    return out


def text(given: Config) -> str:
    """The text of a flag file that starts the same run again."""
    lines = ["# python -m experiments.run --flagfile=THIS_FILE"]
    for name, value in config.to_values(given).items():
        if not name.startswith("dry_"):
            lines.append(f"--{name}={_text(value)}")
    return "\n".join(lines) + "\n"


def differences(old: dict[str, Any], new: Config) -> list[str]:
    """One line for each flag that decides results and differs from the stored values of a run.

    A flag that is newer than the stored values had its default then.
    """
    lines = []
    values = config.to_values(new)
    for field in config.options():
        stored, value = old.get(field.name, field.default), values[field.name]
        stored = tuple(stored) if isinstance(stored, list) else stored
        if stored != value and not config.is_free(field, new):
            lines.append(f"--{field.name}: was {_text(stored)}, now {_text(value)}")
    return lines


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(str(item) for item in value) if isinstance(value, tuple) else str(value)
