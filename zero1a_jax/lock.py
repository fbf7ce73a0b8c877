"""One process at a time in a folder, by a lock that the system takes away from a process that died."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from zero1a_jax.errors import Refused

NAME = ".zero1a_lock"
# File systems of clusters may have no locks; then nobody watches.
_NONE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def held(folder: str | os.PathLike, file: str = "") -> Iterator[None]:
    """Holds the lock of `folder`, or of one file in it, while the block runs; makes the folder if missing.

    A folder that was made here and is still empty at the end goes again.

    Raises:
      Refused: another process holds it.
    """
    folder = Path(folder).expanduser()
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"{NAME}_{file}" if file else NAME)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise Refused(
                f"another process writes to {folder / file}: wait for it, or give another place"
            ) from error
        except OSError as error:
            if error.errno not in _NONE:
                os.close(handle)
                raise
        with contextlib.suppress(FileNotFoundError):  # its last holder removed it between the two calls
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
        with contextlib.suppress(OSError):  # it holds something
            for empty in made:
                empty.rmdir()
