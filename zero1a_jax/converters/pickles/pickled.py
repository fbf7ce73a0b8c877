"""What a pickle may make: plain data, names that stay names, and stand-ins that become plain data.

`Limits` counts what that costs before it is made, `plain` turns it into dictionaries, lists and arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zero1a_jax.errors import Refused

MAX_STEPS = 500_000  # operations; a FLAME model takes hundreds, a large checkpoint tens of thousands
MAX_DEPTH = 32  # of the data that comes out


class BadFile(Refused):
    """A foreign file that is damaged, hostile or of another kind. The text is one sentence that says what."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle refers to. It is never imported."""

    module: str
    name: str


class Limits:
    """What reading one file may still cost, however its parts are nested."""

    def __init__(self, size: int) -> None:
        self._steps = MAX_STEPS
        self._bytes = 2 * size + (64 << 20)

    def step(self) -> None:
        """Counts one operation. Raises BadFile after MAX_STEPS."""
        self._steps -= 1
        if self._steps < 0:
            raise BadFile(f"it takes more than {MAX_STEPS} operations, which no file of arrays needs")

    def spend(self, count: int) -> None:
        """Counts bytes before they are made or gone through: a file may name the same ones often.

        Raises BadFile where that is far more than the file holds.
        """
        self._bytes -= count
        if self._bytes < 0:
            raise BadFile("it unpacks to far more bytes than it holds")


class Node:
    """What a pickle makes first and fills later: a stand-in for an object of a foreign class."""

    def fill(self, state: Any) -> None:
        """Takes the state that the pickle gives, once. Raises BadFile where it is not of the right form."""
        raise BadFile(f"a {type(self).__name__.lower()} gets a state that it cannot have")

    def value(self, read: Callable[[Any], Any], limits: Limits) -> Any:
        """The plain data that it stands for; `read` gives that of its parts. Raises BadFile as `fill`."""
        raise BadFile(f"a {type(self).__name__.lower()} stands where data should be")


class Ignored:
    """In place of what no reader needs, such as chumpy's sets of dirty variables."""


IGNORED = Ignored()


@dataclass(frozen=True)
class Vocabulary:
    """The names that a kind of file may use, and what they do."""

    calls: Mapping[Global, Callable[[tuple, Limits], Any]]  # by REDUCE
    news: Mapping[Global, Callable[[], Node]] = field(default_factory=dict)  # by NEWOBJ
    names: frozenset[Global] = frozenset()  # may only be mentioned
    persistent: Callable[[Any, Limits], Any] | None = None

    def knows(self, found: Global) -> bool:
        """Whether a file may mention that name."""
        return found in self.calls or found in self.news or found in self.names


def short(thing: Any) -> str:
    """What a file says, fit for an error message: printable, on one line, at most 60 characters."""
    if isinstance(thing, tuple) and all(type(part) is int for part in thing):
        thing = str(thing[:10])
    if type(thing) not in (str, int, float):  # writing out containers could take for ever
        return f"a {type(thing).__name__.lower()}"
    text = ascii(str(thing)[:200]).strip("'\"")
    return text if len(text) <= 60 else text[:57] + "..."


def text_of(thing: Any) -> Any:
    """Python 2's short strings, which arrive as bytes, as text; other things as they are."""
    return thing.decode("latin1") if type(thing) is bytes and len(thing) <= 1000 else thing


def put(target: dict, key: Any, value: Any) -> None:
    """target[key] = value. Raises BadFile for keys that could take for ever to hash, such as deep tuples."""
    key = text_of(key)
    if type(key) is not str and not (type(key) is int and 0 <= key < 1 << 31):
        raise BadFile("a key of a dictionary is neither text nor a small number")
    target[key] = value


def what(thing: Any) -> str:
    """The name or kind of a thing that a machine made, for an error message."""
    if type(thing) is Global:
        return short(f"{thing.module}.{thing.name}")
    return f"a {type(thing).__name__.lower()}"


def plain(made: Any, limits: Limits) -> Any:
    """Dictionaries, lists, tuples, numbers, strings and arrays from what a machine made; sets become None.

    Raises:
      BadFile: something in it is no data, contains itself, or is nested more than MAX_DEPTH deep.
    """
    done: dict[int, Any] = {}  # by identity, so that shared parts are read once; `made` keeps all alive

    def read(thing: Any, depth: int) -> Any:
        if not isinstance(thing, (dict, list, tuple, Node)):
            if type(thing) is Global:
                raise BadFile(f"the name {what(thing)} stands where data should be")
            return None if thing is IGNORED else thing
        if depth > MAX_DEPTH:
            raise BadFile(f"it is nested more than {MAX_DEPTH} deep")
        key = id(thing)
        if key not in done:
            done[key] = Ignored
            done[key] = part(thing, depth + 1)
        if done[key] is Ignored:
            raise BadFile("something in it contains itself")
        return done[key]

    def part(thing: Any, depth: int) -> Any:
        if isinstance(thing, Node):
            return thing.value(lambda inner: read(inner, depth), limits)
        if isinstance(thing, dict):
            return {key: read(value, depth) for key, value in thing.items()}
        return type(thing)(read(value, depth) for value in thing)

    return read(made, 0)
