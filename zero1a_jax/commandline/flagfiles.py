"""Flag files: where one is found, and the text of one that starts a run again."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zero1a_jax import config
from zero1a_jax.config import Config
from zero1a_jax.errors import Refused

PATHS = ("image", "mask", "flame", "diffusion", "arkit", "motions", "lpips_weights")


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


def found(arguments: Sequence[str], inside: tuple[Path, ...] = ()) -> list[str]:
    """The arguments with the lines of their flag files in place, `inside` of which these are.

    Raises:
      Refused: a flag file that is not there, is no text, or names itself.
    """
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
        file = find(value)
        if file in inside:
            raise Refused(f"The flag file {file} names itself.")
        out += found(_lines(file), (*inside, file))
    return out


def _lines(file: Path) -> list[str]:
    """The arguments in a flag file, as editors of all systems write it."""
    data = file.read_bytes()
    try:
        content = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"The flag file {file} is not UTF-8 text: save it as such.") from error
    lines = [line.strip() for line in content.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "//"))]


def text(given: Config) -> str:
    """The text of a flag file that starts the same run again."""
    lines = ["# python -m experiments.run --flagfile=THIS_FILE"]
    for name, value in config.to_values(given).items():
        if not name.startswith("dry_"):
            lines.append(f"--{name}={value_text(value)}")
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
        if _meant(field.name, stored) != _meant(field.name, value) and not config.is_free(field, new):
            lines.append(f"--{field.name}: was {value_text(stored)}, now {value_text(value)}")
    return lines


def value_text(value: Any) -> str:
    """A flag's value on a command line: lists with commas between, and names that hold one in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, list | tuple):
        return str(value)
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(value)
    return line.getvalue()


def _meant(name: str, value: Any) -> Any:
    """A value without what makes no difference: the spelling of a path, spaces that a flag file loses."""
    if name not in PATHS or not value:
        return value.strip() if isinstance(value, str) else value
    paths = value if isinstance(value, tuple) else (value,)
    return tuple(os.path.realpath(os.path.expanduser(path)) for path in paths)
