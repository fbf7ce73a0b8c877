"""Runs the pickle language on plain data alone.

Python's own unpickler imports what a file names and calls it. Here a name stays a name, a call is a look-up
in a `Vocabulary` of our own stand-ins, and of the language's operations only those exist that writers of
arrays use. Nothing that a file says can reach a Python object, and what it may cost is counted.
"""

from __future__ import annotations

import codecs
import pickletools
import re
import struct
from collections.abc import Callable
from mmap import mmap
from typing import Any

from zero1a_jax.converters.pickles.pickled import (
    IGNORED,
    BadFile,
    Global,
    Ignored,
    Limits,
    Node,
    Vocabulary,
    put,
    short,
    what,
)

# What Python 2 writes in quotes. Possessive, so that a long line is read once.
_ESCAPED = re.compile(rb"""(?:[^\\]++|\\[\\'"nrt]|\\x[0-9a-f]{2})*+""")
MAX_MARKS = 100  # open brackets
MAX_INTEGER = 16  # bytes; torch's magic number has ten
MAX_PROTOCOL = 4


class Machine:
    """Reads one pickle from `data`, from byte `at` on; afterwards `at` is behind it."""

    def __init__(self, data: bytes | mmap, at: int, vocabulary: Vocabulary, limits: Limits) -> None:
        self.data, self.at = data, at
        self._vocabulary, self._limits = vocabulary, limits
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # stacks under open brackets
        self._memo: dict[int, Any] = {}  # a dictionary, so that a huge index costs nothing

    def run(self) -> Any:
        """What the pickle makes: containers, numbers, strings, Nodes.

        Raises:
          BadFile: an unknown operation or name, a damaged or truncated pickle, or one that costs too much.
        """
        while True:
            self._limits.step()
            code = self._take(1)[0]
            if code == _STOP:
                return self._pop()
            action = _ACTIONS.get(code)
            if action is None:
                known = pickletools.code2op.get(chr(code))
                name = f"the pickle operation {known.name}" if known else f"byte {code:#04x} as an operation"
                raise BadFile(f"it uses {name}, which no file of arrays needs")
            action(self)

    def _take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise BadFile("it ends in the middle of a value")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def _line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise BadFile("it ends in the middle of a line")
        return self._take(end + 1 - self.at)[:-1]

    def _pop(self) -> Any:
        if not self._stack:
            raise BadFile("its pickle takes more than it made before")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise BadFile(f"its pickle adds to something that is no {kind.__name__}")
        return self._stack[-1]

    def _push(self, thing: Any) -> None:
        self._stack.append(thing)

    def _mark(self) -> None:
        if len(self._below) >= MAX_MARKS:
            raise BadFile(f"it is nested more than {MAX_MARKS} deep")
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        if not self._below:
            raise BadFile("its pickle closes a bracket that it did not open")
        items, self._stack = self._stack, self._below.pop()
        return items

    def _tuple(self, count: int) -> None:
        self._push(tuple([self._pop() for _ in range(count)][::-1]))

    def _extend(self, items: list[Any]) -> None:
        self._top(list).extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._top(dict)
        if len(items) % 2:
            raise BadFile("its pickle gives a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            put(target, key, value)

    def _dictionary(self) -> None:
        items = self._since_mark()
        self._push({})
        self._set(items)

    def _add_to_set(self) -> None:
        self._since_mark()
        self._top(Ignored)

    def _frozen_set(self) -> None:
        self._since_mark()
        self._push(IGNORED)

    def _append_one(self) -> None:
        item = self._pop()
        self._extend([item])

    def _set_one(self) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _integer_line(self) -> None:
        line = self._line()
        if line in (b"00", b"01"):
            self._push(line == b"01")
        else:
            self._push(_number(int, line.removesuffix(b"L")))

    def _long(self, width: int) -> None:
        size = int.from_bytes(self._take(width), "little")
        if size > MAX_INTEGER:
            raise BadFile(f"it holds a whole number of {size} bytes")
        self._push(int.from_bytes(self._take(size), "little", signed=True))

    def _string_line(self) -> None:
        line = self._line()
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
            raise BadFile("a string in it has no quotes")
        if not _ESCAPED.fullmatch(line, 1, len(line) - 1):
            raise BadFile("a string in it is damaged")
        self._push(codecs.escape_decode(line[1:-1])[0])

    def _bytes(self, width: int) -> None:
        self._push(self._take(int.from_bytes(self._take(width), "little")))

    def _text(self, width: int) -> None:
        self._push(_decoded(self._take(int.from_bytes(self._take(width), "little")), "utf-8"))

    def _name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise BadFile("it builds a name from something that is no text")
        found = Global(module, name)
        if not self._vocabulary.knows(found):
            raise BadFile(f"it refers to {short(module + '.' + name)}, which no file of arrays needs")
        self._push(found)

    def _global_line(self) -> None:
        module = _decoded(self._line(), "utf-8")
        self._name(module, _decoded(self._line(), "utf-8"))

    def _stack_global(self) -> None:
        name = self._pop()
        self._name(self._pop(), name)

    def _call(self) -> None:
        arguments, target = self._pop(), self._pop()
        call = self._vocabulary.calls.get(target) if type(target) is Global else None
        if call is None or type(arguments) is not tuple:
            raise BadFile(f"it calls {what(target)}, which cannot be called")
        self._push(call(arguments, self._limits))

    def _new(self) -> None:
        arguments, target = self._pop(), self._pop()
        make = self._vocabulary.news.get(target) if type(target) is Global else None
        if make is None or arguments != ():
            raise BadFile(f"it makes a new {what(target)} in a way that no file of arrays needs")
        self._push(make())

    def _fill(self) -> None:
        state = self._pop()
        if not self._stack:
            raise BadFile("its pickle fills something that it did not make")
        target = self._stack[-1]
        if isinstance(target, Node):
            target.fill(state)
        elif type(target) is not dict:  # a dictionary's attributes, such as torch's _metadata, are left out
            raise BadFile(f"it gives a state to {what(target)}, which has none")

    def _put(self, index: int) -> None:
        if not self._stack:
            raise BadFile("its pickle keeps something that it did not make")
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise BadFile(f"its pickle fetches number {index}, which it did not keep")
        self._push(self._memo[index])

    def _index(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little") if width else _number(int, self._line())

    def _persistent(self) -> None:
        if self._vocabulary.persistent is None:
            raise BadFile("it refers to data outside of itself (a persistent id)")
        self._push(self._vocabulary.persistent(self._pop(), self._limits))

    def _protocol(self) -> None:
        protocol = self._take(1)[0]
        if protocol > MAX_PROTOCOL:
            raise BadFile(f"it is a pickle of protocol {protocol}; write it with {MAX_PROTOCOL} or less")


def _number(kind: Callable[[bytes], Any], line: bytes) -> Any:
    if len(line) > 40:
        raise BadFile(f"a number in it has {len(line)} digits")
    try:
        return kind(line)
    except ValueError as error:
        raise BadFile(f"{short(line.decode('latin1'))} in it is no number") from error


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadFile("a text in it is damaged") from error


_STOP = ord(".")
_ACTIONS: dict[int, Callable[[Machine], None]] = {
    ord(code): action
    for code, action in {
        "\x80": Machine._protocol,
        "\x95": lambda m: m._take(8),  # a frame only helps buffering
        "N": lambda m: m._push(None),
        "\x88": lambda m: m._push(True),
        "\x89": lambda m: m._push(False),
        "I": Machine._integer_line,
        "L": Machine._integer_line,
        "K": lambda m: m._push(m._take(1)[0]),
        "M": lambda m: m._push(int.from_bytes(m._take(2), "little")),
        "J": lambda m: m._push(int.from_bytes(m._take(4), "little", signed=True)),
        "\x8a": lambda m: m._long(1),
        "\x8b": lambda m: m._long(4),
        "F": lambda m: m._push(_number(float, m._line())),
        "G": lambda m: m._push(struct.unpack(">d", m._take(8))[0]),
        "S": Machine._string_line,
        "U": lambda m: m._bytes(1),
        "T": lambda m: m._bytes(4),
        "C": lambda m: m._bytes(1),
        "B": lambda m: m._bytes(4),
        "\x8e": lambda m: m._bytes(8),
        "V": lambda m: m._push(_decoded(m._line(), "raw-unicode-escape")),
        "X": lambda m: m._text(4),
        "\x8c": lambda m: m._text(1),
        "\x8d": lambda m: m._text(8),
        "(": Machine._mark,
        ")": lambda m: m._push(()),
        "t": lambda m: m._push(tuple(m._since_mark())),
        "\x85": lambda m: m._tuple(1),
        "\x86": lambda m: m._tuple(2),
        "\x87": lambda m: m._tuple(3),
        "]": lambda m: m._push([]),
        "l": lambda m: m._push(m._since_mark()),
        "a": Machine._append_one,
        "e": lambda m: m._extend(m._since_mark()),
        "}": lambda m: m._push({}),
        "d": Machine._dictionary,
        "s": Machine._set_one,
        "u": lambda m: m._set(m._since_mark()),
        "\x8f": lambda m: m._push(IGNORED),
        "\x90": Machine._add_to_set,
        "\x91": Machine._frozen_set,
        "c": Machine._global_line,
        "\x93": Machine._stack_global,
        "R": Machine._call,
        "\x81": Machine._new,
        "b": Machine._fill,
        "p": lambda m: m._put(m._index(0)),
        "q": lambda m: m._put(m._index(1)),
        "r": lambda m: m._put(m._index(4)),
        "\x94": lambda m: m._put(len(m._memo)),
        "g": lambda m: m._get(m._index(0)),
        "h": lambda m: m._get(m._index(1)),
        "j": lambda m: m._get(m._index(4)),
        "Q": Machine._persistent,
    }.items()
}
