"""Brings the files of manifests to a folder, checks what is there, and keeps a record of what arrived."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.fetching import download
from zero1a_jax.fetching.manifests import File, Manifest

RECORD = "fetched.json"  # what arrived: its checksum stands in where nobody states one


def needs_consent(manifest: Manifest) -> bool:
    """Whether its licence is to be accepted here: not where that is done elsewhere, or all may use it."""
    return not manifest.by_hand and manifest.commercial_use != "yes"


def consent(manifest: Manifest) -> str:
    """What a person has to know before the files are fetched."""
    return (
        f"{manifest.name} is under: {manifest.licence} (commercial use: {manifest.commercial_use}). "
        f"Read it, then add --accept={manifest.label}."
    )


def finish(failures: Sequence[str]) -> None:
    """Ends with the failures, if any."""
    if failures:
        raise Refused("; ".join(failures))


def get(manifest: Manifest, folder: Path) -> list[str]:
    """Fetches what is not there yet, and checks what is; returns what failed, a sentence each."""
    if manifest.by_hand:
        print(by_hand(manifest, folder))
        return check(manifest, folder, asked=True)
    print(f"{manifest.name} ({manifest.licence})")
    failures = []
    for file in manifest.files:
        path = folder / file.path
        if path.exists():
            failures += verdict(file, folder)
            continue
        print(f"{file.path}: fetching {file.url}", flush=True)
        try:
            receipt = download.download(file.url, path, sha256=file.sha256, size=file.bytes)
        except download.Failed as error:
            failures.append(str(error))
            continue
        note = "as stated" if receipt.compared else "which nobody states: later checks compare with it"
        print(f"{file.path}: {receipt.bytes} bytes, SHA-256 {receipt.sha256}, {note}")
        keep(folder, file, receipt)
    return failures


def check(manifest: Manifest, folder: Path, *, asked: bool) -> list[str]:
    """Compares what is there with what is known; returns what is wrong, and what is missing if `asked`."""
    failures = []
    for file in manifest.files:
        if (folder / file.path).exists():
            failures += verdict(file, folder)
            continue
        print(f"{file.path}: not there")
        failures += [f"{folder / file.path} is not there"] if asked else []
    return failures


def verdict(file: File, folder: Path) -> list[str]:
    """Says what a file is; returns a sentence if it is another one than expected. It is left as it is."""
    path = folder / file.path
    if not path.is_file():
        return [f"{path} is no file"]
    size = path.stat().st_size
    if file.bytes and size != file.bytes:
        return [f"{path} has {size} bytes instead of {file.bytes}: another file, or incomplete: move it away"]
    wanted = file.sha256 or record(folder).get(file.path, {}).get("sha256", "")
    found = files.sha256(path)
    if wanted and found != wanted:
        return [
            f"{path} has the SHA-256 {found} instead of {wanted}: another or a damaged file: move it away"
        ]
    print(f"{file.path}: {'right' if wanted else 'there; no checksum is known for it'} ({size} bytes)")
    return []


def by_hand(manifest: Manifest, folder: Path) -> str:
    """Where a person gets the files, and where they go."""
    lines = [f"{manifest.name} ({manifest.licence}) is downloaded by hand. {manifest.manual}".rstrip()]
    lines += [f"  {folder / file.path}: {file.manual}" for file in manifest.files]
    return "\n".join(lines)


def record(folder: Path) -> dict[str, Any]:
    """What earlier calls fetched: path to sha256, bytes, url, revision."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise Refused(f"{path} is damaged: delete it to check without it") from error
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise Refused(f"{path} is damaged: delete it to check without it")
    return content


def keep(folder: Path, file: File, receipt: download.Receipt) -> None:
    """Adds a receipt to the record, atomically."""
    entry = dict(sha256=receipt.sha256, bytes=receipt.bytes, url=file.url, revision=receipt.revision)
    files.write_json(folder / RECORD, record(folder) | {file.path: entry})


def table(known: Sequence[Manifest]) -> str:
    """The licences, a block for each manifest, in columns of at most 110 characters."""
    lines = []
    for manifest in known:
        sizes = [file.bytes for file in manifest.files]
        size = f"{sum(sizes) / 1e6:.1f} MB" if all(sizes) else "size unknown"
        way = "by hand" if manifest.by_hand else "fetched"
        lines.append(f"{manifest.label} (group {manifest.group}): {manifest.name}, {manifest.version}")
        facts = {
            "licence": manifest.licence,
            "commercial use": manifest.commercial_use,
            "files": f"{way}, {len(manifest.files)} ({size}): {', '.join(f.path for f in manifest.files)}",
            "cite": manifest.citation,
        }
        for name, text in facts.items():
            lines += textwrap.wrap(
                text, 108, initial_indent=f"  {name}: ", subsequent_indent="    ", break_on_hyphens=False
            )
    return "\n".join(lines)
