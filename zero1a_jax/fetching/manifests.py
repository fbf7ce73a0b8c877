"""What other people's files are and where they belong: reads third_party/manifests/*.toml."""

from __future__ import annotations

import re
import tomllib
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zero1a_jax.errors import Refused


def shipped() -> Path:
    """The folder of the manifests that come along: in an installed package, or of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "manifests"
    return inside if inside.is_dir() else package.parent / "third_party" / "manifests"


SHIPPED = shipped()
UNKNOWN = "unknown"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class File:
    """One file: its place below the assets folder, and what is known of it ("" and 0 where unknown)."""

    path: str
    url: str  # "" where it has to be got by hand
    manual: str  # where a person gets it
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """One foreign thing. `label` is the manifest's file name, `manual` what a person has to do first."""

    label: str
    group: str
    name: str
    version: str
    licence: str
    commercial_use: str  # yes, no or unclear
    citation: str
    manual: str
    files: tuple[File, ...]

    @property
    def by_hand(self) -> bool:
        """Whether no file of it can be fetched by a command."""
        return not any(file.url for file in self.files)


def load(folder: Path = SHIPPED) -> tuple[Manifest, ...]:
    """All manifests of a folder, by name.

    Raises Refused with one sentence for a manifest that is broken or asks for an unsafe path or address.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise Refused(f"{folder} holds no manifests (*.toml)")
    found = []
    for path in paths:
        try:
            found.append(_manifest(path.stem, tomllib.loads(path.read_text("utf-8"))))
        except KeyError as error:
            raise Refused(f"{path} lacks {error.args[0]}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise Refused(f"{path} is no manifest: {error}") from error
    return tuple(found)


def select(manifests: Sequence[Manifest], names: Sequence[str]) -> list[Manifest]:
    """Those of the given labels or groups, each once. Raises Refused for a name that nothing has."""
    known = {m.label for m in manifests} | {m.group for m in manifests}
    for name in names:
        if name not in known:
            raise Refused(f"there is nothing called {name}; known are {', '.join(sorted(known))}")
    return [m for m in manifests if m.label in names or m.group in names]


def permitted(url: str) -> bool:
    """https, or this machine."""
    parts = urllib.parse.urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    )


def _manifest(label: str, content: dict[str, Any]) -> Manifest:
    if content["commercial_use"] not in ("yes", "no", "unclear"):
        raise Refused("commercial_use is neither yes nor no nor unclear")
    texts = {name: str(content[name]) for name in ("group", "name", "version", "licence", "citation")}
    return Manifest(
        label=label,
        **texts,
        commercial_use=content["commercial_use"],
        manual=str(content.get("manual", "")),
        files=tuple(_file(content["folder"], entry) for entry in content["files"]),
    )


def _file(folder: str, entry: dict[str, Any]) -> File:
    path = PurePosixPath(folder) / entry["name"]
    if not all(_PART.fullmatch(part) for part in path.parts):
        raise Refused(f"{path} is no path below the assets folder")
    url, manual = entry.get("url", ""), entry.get("manual", "")
    if url and not permitted(url):
        raise Refused(f"{url} is no https address")
    if not url and not manual:
        raise Refused(f"{path} has neither a url nor words on how to get it")
    sha256, size = entry["sha256"], entry["bytes"]
    if sha256 != UNKNOWN and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise Refused(f"the sha256 of {path} is no 64 hexadecimal digits")
    if size != UNKNOWN and not (isinstance(size, int) and size > 0):
        raise Refused(f"the bytes of {path} are no positive number")
    return File(
        path=str(path),
        url=url,
        manual=manual,
        sha256="" if sha256 == UNKNOWN else sha256,
        bytes=0 if size == UNKNOWN else size,
    )
