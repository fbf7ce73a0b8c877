"""One file over HTTP: resumed after interruptions, checked, and only then given its name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from zero1a_jax import files
from zero1a_jax.fetching import manifests

BLOCK = 1 << 20
SPARE = 64 << 20  # bytes that stay free on the disk
LARGEST_UNSIZED = 64 << 20  # bytes of a file whose size nobody states
SAY_EVERY = 5.0  # seconds
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class Failed(Exception):
    """The file cannot be had; the text says why and what to do."""


class _Interrupted(Exception):
    """The connection broke; trying again goes on from what is there."""


@dataclass(frozen=True)
class Receipt:
    """What arrived. `compared` is the checksum it was compared with, "" where nobody states one; `revision`
    is the commit that a Hugging Face server named, else ""."""

    sha256: str
    bytes: int
    compared: str
    revision: str


def download(
    url: str,
    destination: Path,
    *,
    sha256: str = "",
    size: int = 0,
    tries: int = 5,
    wait: float = 2.0,
    timeout: float = 30.0,
    say: Callable[[str], None] = print,
) -> Receipt:
    """Fetches `url` to `destination`, which must not exist yet.

    What arrives goes to `destination`.part, which a later call goes on with (HTTP Range) where a checksum
    will prove the whole; it gets its name by an atomic rename after bytes and SHA-256 were found right. The
    checksum is the given one, else the one that Hugging Face states before it redirects (X-Linked-Etag).

    Args:
      url: https, or http on this machine; redirects may lead to https or stay on the same host.
      sha256, size: what the file must have; "" and 0 where unknown.
      tries: attempts in a row without any progress. wait: seconds before the second, doubled each time.

    Raises:
      Failed: no host, refused, no room, another file than expected (it is removed), interrupted for good.
    """
    if not manifests.permitted(url):
        raise Failed(f"{url} is no https address")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _part(destination) as (part, handle):
            receive = _Transfer(url, handle, part, sha256=sha256, size=size, timeout=timeout, say=say)
            _persist(receive, tries=tries, wait=wait, say=say)
            handle.flush()
            os.fsync(handle.fileno())
            receipt = _checked(receive, part)
            os.replace(part, destination)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Failed(
                f"the disk of {destination.parent} is full: make room, the same command goes on"
            ) from error
        raise Failed(f"{destination} cannot be written: {error.strerror or error}") from error
    return receipt


def _persist(receive: _Transfer, *, tries: int, wait: float, say: Callable[[str], None]) -> None:
    """Tries until the transfer is complete; progress makes the count start again."""
    left, pause, reached = tries, wait, -1
    while True:
        try:
            return receive()
        except _Interrupted as error:
            now = receive.position()
            left, pause = (tries, wait) if now > reached >= 0 else (left, pause)
            reached, left = now, left - 1
            if left <= 0:
                raise Failed(f"{receive.url} was interrupted ({error}): the same command goes on") from error
            say(f"  interrupted at {now >> 20} MiB ({error}); trying again in {pause:g} s")
            time.sleep(pause)
            pause *= 2


def _checked(receive: _Transfer, part: Path) -> Receipt:
    """Removes what is not the file that was asked for."""
    found, size = files.sha256(part), part.stat().st_size
    if receive.sha256 and found != receive.sha256:
        part.unlink()
        raise Failed(
            f"{receive.url} is not the file that was expected: its SHA-256 is {found}, not {receive.sha256}; "
            "it was removed"
        )
    return Receipt(found, size, receive.sha256, receive.revision)


@contextlib.contextmanager
def _part(destination: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The unfinished file, for this process alone."""
    part = destination.with_name(destination.name + ".part")
    with open(part, "ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Failed(f"{part} is being written by another process: wait for it") from error
        try:
            yield part, handle
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()  # nothing arrived


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https or on the same host, and keeps what Hugging Face says before."""

    def __init__(self) -> None:
        self.stated: dict[str, str] = {}

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """As the base class, but refuses other schemes and unencrypted hosts."""
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme != "https" and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise Failed(f"{req.full_url} redirects to {newurl}, which is neither https nor the same host")
        for name in ("X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit"):
            if headers.get(name):
                self.stated.setdefault(name, headers[name].strip('W/"'))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Transfer:
    """Receives the rest of a file into an open, appending handle; called again after an interruption."""

    def __init__(
        self,
        url: str,
        handle: BinaryIO,
        part: Path,
        *,
        sha256: str,
        size: int,
        timeout: float,
        say: Callable[[str], None],
    ) -> None:
        self.url, self.sha256, self.revision = url, sha256, ""
        self._handle, self._part, self._size, self._timeout, self._say = handle, part, size, timeout, say

    def position(self) -> int:
        """Bytes that are there."""
        self._handle.flush()
        return os.fstat(self._handle.fileno()).st_size

    def __call__(self) -> None:
        start = self.position()
        if self.sha256 and 0 < start == self._size:
            return
        if self._size and start > self._size:
            start = self._restart()
        answer = self._open(start)
        if answer is None:
            return
        with answer:
            total = self._total(answer, start)
            if answer.status == 200 and start:
                start = self._restart()
            elif answer.status == 206 and not self.sha256:
                self._restart()
                raise _Interrupted("nothing would prove that both halves belong together")
            self._room(total - start if total else 0)
            self._copy(answer, start, total)

    def _restart(self) -> int:
        self._handle.truncate(0)
        return 0

    def _open(self, start: int) -> http.client.HTTPResponse | None:
        """The answer, 200 or 206; None where everything is there already."""
        headers = {"User-Agent": "zero1a_jax", "Accept-Encoding": "identity"}
        headers |= {"Range": f"bytes={start}-"} if start else {}
        redirects = _Redirects()
        opener = urllib.request.build_opener(redirects)
        host = urllib.parse.urlsplit(self.url).hostname
        try:
            answer = opener.open(urllib.request.Request(self.url, headers=headers), timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416:
                    return self._beyond(error, start)
                raise self._refusal(error) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise Failed(f"{host} cannot prove who it is: {error.reason.verify_message}") from error
            if isinstance(error.reason, (socket.gaierror, ConnectionRefusedError)):
                raise Failed(
                    f"{host} cannot be reached ({error.reason}): check the network, or bring the files "
                    "by hand and check them with --offline"
                ) from error
            raise _Interrupted(str(error.reason)) from error
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise _Interrupted(str(error) or type(error).__name__) from error
        stated = redirects.stated
        if not self.sha256 and re.fullmatch("[0-9a-f]{64}", stated.get("X-Linked-Etag", "")):
            self.sha256 = stated["X-Linked-Etag"]
        self.revision = stated.get("X-Repo-Commit", "") or answer.headers.get("X-Repo-Commit", "")
        return answer

    def _beyond(self, error: urllib.error.HTTPError, start: int) -> None:
        """416: nothing lies behind `start`, which is the end, or the part is another file's."""
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if total and int(total[1]) == start and self.sha256:
            return None
        self._restart()
        raise _Interrupted("what was there is longer than the file")

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        if error.code in _AGAIN:
            return _Interrupted(f"the server answers {error.code}")
        why = {
            401: "asks for a login",
            403: "does not give it out",
            404: "does not have it",
            410: "has removed it",
        }
        return Failed(f"{self.url}: the server {why.get(error.code, f'answers {error.code} {error.reason}')}")

    def _total(self, answer: http.client.HTTPResponse, start: int) -> int:
        """Bytes of the whole file; 0 where the server does not say."""
        total, length = 0, answer.headers.get("Content-Length", "")
        if answer.status == 206:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
            if not span or int(span[1]) != start:
                self._restart()
                raise _Interrupted("the server sent another part than the one asked for")
            total = int(span[2])
        elif answer.status != 200:
            raise Failed(f"{self.url}: the server answers {answer.status}")
        elif length.isdigit():
            total = int(length)
        if total and self._size and total != self._size:
            raise Failed(
                f"{self.url} has {total} bytes, not {self._size}: it is not the file that was expected"
            )
        return total or self._size

    def _room(self, needed: int) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if free < needed + SPARE:
            raise Failed(
                f"{self._part.parent} has {free >> 20} MiB free, {(needed + SPARE) >> 20} are needed"
            )

    def _copy(self, answer: http.client.HTTPResponse, start: int, total: int) -> None:
        most, at, said = total or LARGEST_UNSIZED, start, time.monotonic()
        while True:
            try:
                block = answer.read(BLOCK)
            except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
                raise _Interrupted(str(error) or type(error).__name__) from error
            if not block:
                break
            at += len(block)
            if at > most:
                self._restart()
                raise Failed(f"{self.url} sends more than {most} bytes: it was removed")
            self._handle.write(block)
            if time.monotonic() - said > SAY_EVERY:
                self._say(f"  {at >> 20} of {total >> 20} MiB")
                said = time.monotonic()
        if total and at < total:
            raise _Interrupted(f"{total - at} bytes are missing")
