"""What we wrote into a folder of the user's: nothing else in it is ever overwritten unasked.

A hidden file beside the outputs says for each name which contents were ours. An output is made in a hidden
folder in its own folder, and moved to its place when all of it is whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from zero1a_jax import files, lock
from zero1a_jax.errors import Refused

NAME = ".zero1a_written.json"  # name -> the last SHA-256s that we wrote under it
_KEPT = 4  # a kill between record and file must not make a stranger of the old file


@contextlib.contextmanager
def writing(
    folder: str | os.PathLike, names: Sequence[str] | None = None, *, overwrite: bool = False
) -> Iterator[Path]:
    """Yields an empty folder; what the block leaves in it is moved to `folder` when the block ends well.

    Args:
      folder: made where it is missing; removed again, if it was made here, where the block raises.
      names: the files that will be written; None where `folder` is to hold nothing of others'.
      overwrite: replace also what is not ours.

    Raises:
      Refused: a file is there that we did not write, or that was changed since; or another process writes
        files of these names. Of a whole folder the caller holds the lock, while it does what is slow.
    """
    folder = Path(folder).expanduser()
    refuse(folder, names, overwrite=overwrite)
    with lock.held(folder, names[0]) if names else contextlib.nullcontext():
        refuse(folder, names, overwrite=overwrite)  # what another process wrote before we held the lock
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".zero1a_unfinished_", dir=folder))
        try:
            yield unfinished
            with files.unbroken():
                _move(unfinished, folder)
        finally:
            with files.unbroken(), contextlib.suppress(OSError):  # somebody else put something there
                shutil.rmtree(unfinished)
                for path in made:
                    path.rmdir()


def refuse(folder: str | os.PathLike, names: Sequence[str] | None = None, *, overwrite: bool) -> None:
    """Raises Refused where `writing` would: to be told before anything slow starts."""
    folder = Path(folder).expanduser()
    if why := files.no_folder(folder):
        raise Refused(why)
    for name in names or ():
        if (folder / name).is_dir():
            raise Refused(f"{folder / name} is a folder: give a file")
    found = [] if overwrite else foreign(folder, names)
    if found:
        raise Refused(
            f"{folder / found[0]} is not what this program wrote there: it is left alone; write to another "
            "place, or replace it with --overwrite (overwrite=True)"
        )


def foreign(folder: Path, names: Sequence[str] | None = None) -> list[str]:
    """Which files of `names`, or of all in `folder` that are not hidden, are not as we wrote them."""
    if names is None:
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        names = [name for name in there if not name.startswith(".") and name != "lost+found"]
    else:
        names = [name for name in names if os.path.lexists(folder / name)]
    known = _known(folder)
    return [name for name in names if not _is_ours(folder / name, known.get(name, []))]


def _is_ours(path: Path, hashes: list[str]) -> bool:
    return bool(hashes) and path.is_file() and not path.is_symlink() and files.sha256(path) in hashes


def _known(folder: Path) -> dict[str, list[str]]:
    try:
        known = json.loads((folder / NAME).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # nothing is known to be ours then
        return {}
    return known if isinstance(known, dict) else {}


def _move(unfinished: Path, folder: Path) -> None:
    """Moves the files of one folder into another, of which the record is told first."""
    paths = sorted(unfinished.iterdir())
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    with _alone(folder):
        known = _known(folder)
        for path in paths:
            known[path.name] = [*known.get(path.name, []), files.sha256(path)][-_KEPT:]
        files.write_json(folder / NAME, known)
        for path in paths:
            os.replace(path, folder / path.name)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits for other processes that move files of other names into `folder`, so that no record is lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
