"""Functions with some of their arguments given, which jax compiles once in a process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

_made: dict[Hashable, Callable] = {}


def bound(function: Callable, *values: Any, **named: Any) -> Callable:
    """As `functools.partial`, but the same object for the same function and values.

    jax keeps what it compiled of a function for that very object: several runs in one process, such as a
    study's, then share their programs. What cannot be hashed, such as an array, counts as the same where it
    is one object; it must not be changed.
    """
    key = (function, *map(_key, values), *((name, _key(named[name])) for name in sorted(named)))
    if key not in _made:
        _made[key] = functools.partial(function, *values, **named)
    return _made[key]


def _key(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return "object", id(value)  # the partial keeps it alive, so that its number stays its own
    return type(value), value  # 1, 1.0 and True are equal, and give other programs
