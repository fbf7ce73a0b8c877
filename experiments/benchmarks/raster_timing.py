"""Compiling with a look at the clock and at the memory, and medians of calls that take turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

Name = TypeVar("Name", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Program:
    """A program compiled for its arguments."""

    call: Callable[[], Any]  # runs it; what it returns may still be on its way
    compile_s: float  # tracing and compilation together
    temporaries_mb: float  # what the program allocates beside its arguments and results, 1e6 bytes


def compiled(function: Callable, *arguments: Any, clock: Callable[[], float]) -> Program:
    """Compiles `function` for these arguments, timed by `clock` (seconds)."""
    start = clock()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = clock() - start
    analysis = program.memory_analysis()
    size = float("nan") if analysis is None else analysis.temp_size_in_bytes / 1e6
    return Program(lambda: program(*arguments), seconds, size)


def medians(
    programs: Mapping[Name, Callable[[], Any]], *, repeats: int, clock: Callable[[], float], settle: int = 2
) -> dict[Name, float]:
    """Milliseconds a call of each program, the programs taking turns.

    Turns let a slower minute of the machine hit all alike, so that ratios hold. The first `settle` rounds
    do not count: there programs compile that are not compiled yet, and memory is fetched.
    """
    times: dict[Name, list[float]] = {name: [] for name in programs}
    for repeat in range(repeats + settle):
        for name, program in programs.items():
            start = clock()
            jax.block_until_ready(program())
            if repeat >= settle:
                times[name].append(1e3 * (clock() - start))
    return {name: float(np.median(values)) for name, values in times.items()}
