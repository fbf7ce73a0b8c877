"""Small commands: options from flags, errors as one sentence."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from zero1a_jax.commandline.flags import parse
from zero1a_jax.config import option
from zero1a_jax.errors import Refused

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Options:
    """Some of every kind."""

    name: str = option("x", "text")
    count: int = option(3, "whole", low=1, high=9)
    rate: float = option(0.5, "real", low=0)
    on: bool = option(False, "switch")
    kind: str = option("a", "choice", choices=("a", "b"))
    items: tuple[str, ...] = option(("p",), "list")


def test_defaults_and_values():
    assert parse(Options, []) == Options()
    given = ["--name=n", "--count=9", "--rate=2", "--on", "--kind=b", "--items=q,r"]
    assert parse(Options, given) == Options("n", 9, 2.0, True, "b", ("q", "r"))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--nonsense=1"], "nonsense"),
        (["--count=ten"], "count"),
        (["--count=10"], "at most 9"),
        (["--rate=-1"], "--rate"),
        (["--kind=c"], "kind"),
        (["stray"], "stray"),
    ],
)
def test_wrong_options_are_refused(arguments, words):
    with pytest.raises(Refused, match=words):
        parse(Options, arguments)


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["experiments.animate"], 1, "--avatar"),
        (["experiments.animate", "--avatar=a", "--out=b.mp4", "--smooth=2"], 1, "odd"),
        (["experiments.animate", "--size=7"], 2, "--size"),
        (["experiments.view", "stray"], 2, "stray"),
        (["experiments.evaluate", "--avatar=no/such/folder"], 1, "no/such/folder"),
        (["experiments.study"], 1, "--out"),
        (["experiments.study", "--out=w", "--methods=magic"], 1, "magic"),
        (["experiments.animate", "--help"], 0, ""),
    ],
)
def test_errors_are_one_sentence_and_quick(arguments, code, words):
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == (code != 0) and words in done.stderr
    assert "Traceback" not in done.stderr


def test_help_tells_every_flag(capsys):
    """Each option with its words, also where a line of them ends with a colon; absl's own once."""
    from zero1a_jax.commandline import flags
    from zero1a_jax.config import Config, options

    text = flags.help_text(Config)
    for field in options(Config):
        assert f"--{field.name}" in text or f"--[no]{field.name}" in text, field.name
        words = "".join(field.metadata["help"].split())
        assert words in "".join(text.split()), field.name
    assert "--flagfile" not in text
