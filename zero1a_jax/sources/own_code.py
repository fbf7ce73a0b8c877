"""Functions of the user's own that a flag names as module:function."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from zero1a_jax.errors import Refused

NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def look_here() -> None:
    """Lets modules of the current folder be imported, as python -m does and a console command does not."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())


def function(flag: str, text: str) -> Callable[..., Any]:
    """The function that --flag=text names. Raises Refused, one sentence, where it cannot be had."""
    if not NAME.fullmatch(text):
        raise Refused(f"--{flag}={text}: name a function as module:function.")
    module, name = text.split(":")
    look_here()
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # the user's code: whatever it raises is told in one sentence
        raise Refused(f"--{flag}={text}: {type(error).__name__}: {error}") from error
