"""Atomic writes: a reader sees the old file or the whole new one, never half of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zero1a_jax.errors import Refused


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces `path` when the block ends well.

    The folder is made where it is missing. The temporary name keeps the suffix, because encoders choose
    their container by it. When the block raises, the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; what we write is meant to be read like any other output.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        with unbroken():
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def unbroken() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM that come while the block runs act at its end: for steps that belong together.

    Yields the list of those that came so far: long work looks there, between steps, whether to end early.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # they come to the main thread alone
        yield came
        return
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            handler = before[signal.Signals(came[0])]
            handler(came[0], None) if callable(handler) else signal.raise_signal(came[0])


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes `text` as UTF-8 to `path` atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def no_folder(folder: str | os.PathLike) -> str:
    """Why nothing can be written into a folder, a clause: it or one above it is a file, or a link to nothing.

    Empty where it is a folder, or can be made.
    """
    folder = Path(folder).expanduser()
    for path in (folder, *folder.parents):
        if path.is_symlink() and not path.exists():
            return f"{path} is a link to nothing: remove it, or give another folder"
        if path.exists() and not path.is_dir():
            return f"{path} is a file: give a folder"
    return ""


def stand_in(path: str | os.PathLike) -> str:
    """What lies in place of a file that was meant, a sentence; empty where it seems to be the file itself.

    Git without LFS leaves a pointer, and a download behind a login leaves a page.
    """
    with open(path, "rb") as file:
        head = file.read(256).lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if head.startswith(b"version https://git-lfs"):
        return f"{path} is a Git LFS pointer instead of the file: fetch it with git lfs pull"
    if head.startswith((b"<!doctype html", b"<html")):
        return f"{path} is a web page instead of the file: download it again, logged in where that is needed"
    return ""


def refuse_stand_in(path: str | os.PathLike) -> None:
    """Raises Refused where `stand_in` says something."""
    if sentence := stand_in(path):
        raise Refused(sentence)


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
