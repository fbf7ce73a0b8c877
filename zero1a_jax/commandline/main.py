"""`zero1a NAME --flags`: every command of experiments/ under one name, from any folder."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

from zero1a_jax.commandline import flagfiles


def known() -> dict[str, Path]:
    """The commands by name."""
    paths = sorted(flagfiles.commands().glob("[a-z]*.py"))
    return {path.stem: path for path in paths}


def overview() -> str:
    """The commands with the first line of what they say of themselves."""
    lines = ["zero1a COMMAND --flags; zero1a COMMAND --help lists a command's flags.", ""]
    for name, path in known().items():
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        lines.append(f"  {name:<20} {text.splitlines()[0] if text else ''}")
    return "\n".join(lines)


def main() -> None:
    """Runs the command that sys.argv names, as if it were started by itself."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print(overview())
        sys.exit(0)
    if name not in known():
        print(f"error: there is no command {name}: choose from {', '.join(known())}.", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"zero1a {name}", *sys.argv[2:]]
    runpy.run_path(str(known()[name]), run_name="__main__")
