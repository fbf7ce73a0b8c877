"""Arrays out of what a foreign file holds, once they are what they should be."""

from __future__ import annotations

from typing import Any

import numpy as np

from zero1a_jax.converters.pickles.pickled import BadFile


def table(content: Any, what: str) -> dict:
    """The dictionary that a file holds; `what` says which kind of file is expected. Raises BadFile."""
    if not isinstance(content, dict):
        raise BadFile(f"it is no {what}: its content is no dictionary")
    return content


def numbers(content: dict, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """The finite numbers `content[name]` as float32 of `shape`, whose None fits any length from 1.

    Raises BadFile where it is missing or anything else.
    """
    array = _array(content, name, shape, "fiu", "numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise BadFile(f"{name} holds values that are not finite")
    return np.ascontiguousarray(values)


def indices(content: dict, name: str, shape: tuple[int | None, ...], limit: int) -> np.ndarray:
    """The whole numbers `content[name]` in 0..limit-1 as int32. Raises BadFile as `numbers`."""
    array = _array(content, name, shape, "iu", "whole numbers")
    if array.min() < 0 or array.max() >= limit:
        raise BadFile(f"{name} refers to number {array.max()} or less than 0, but there are {limit}")
    return np.ascontiguousarray(array.astype(np.int32))


def _array(content: dict, name: str, shape: tuple[int | None, ...], kinds: str, what: str) -> np.ndarray:
    array = content.get(name)
    if not isinstance(array, np.ndarray):
        raise BadFile(f"{name} is missing" if array is None else f"{name} is no array")
    if array.dtype.kind not in kinds:
        raise BadFile(f"{name} holds {array.dtype}, not {what}")
    fits = array.ndim == len(shape) and all(
        wanted in (None, given) for given, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or not array.size:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise BadFile(f"{name} has the shape {array.shape} where ({wanted}) is expected")
    return array
