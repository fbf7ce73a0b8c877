"""Fetches other people's files, after you accepted their licences, and checks what is there.

  python -m experiments.fetch --list
  python -m experiments.fetch --what=mediapipe --assets=FOLDER
  python -m experiments.fetch --what=diffusion --accept=aniportrait,clip_image_encoder --assets=FOLDER
  python -m experiments.fetch --offline --assets=FOLDER

The same command goes on after an interruption. Nothing is sent but the request for the file. FLAME has to be
downloaded by hand; the command says where, and checks that the files lie where they should. Afterwards:
--assets=FOLDER, --flame=FOLDER/flame2023 and so on. No other command of this project uses the network.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zero1a_jax import files
from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused
from zero1a_jax.fetching import download, manifests
from zero1a_jax.fetching.manifests import File, Manifest

RECORD = "fetched.json"  # what arrived: its checksum stands in where nobody states one


@dataclass(frozen=True)
class Options:
    """What to fetch, and where to."""

    what: tuple[str, ...] = option((), "Names or groups of --list; with --offline all that is there.")
    assets: str = option("", "Folder to put the files into; without it the variable ZERO1A_ASSETS.")
    accept: tuple[str, ...] = option(
        (), "Names whose licence you have read and accept; asked for where commercial use is not a plain yes."
    )
    offline: bool = option(False, "Only checks the files that are there; uses no network.")
    list: bool = option(False, "Shows every file's licence, whether commercial use is allowed, and size.")
    manifests: str = option(
        str(manifests.SHIPPED), "Folder of the manifests (.toml); another one for a mirror."
    )


def main(options: Options) -> None:
    """Lists, fetches or checks. Refused at the end where something is missing or wrong."""
    known = manifests.load(Path(options.manifests))
    if options.list:
        print(table(known))
        return
    folder = Path(options.assets or os.environ.get("ZERO1A_ASSETS", ""))
    if not (options.assets or os.environ.get("ZERO1A_ASSETS")):
        raise Refused("give --assets=FOLDER, or set ZERO1A_ASSETS: the files go there")
    if folder.exists() and not folder.is_dir():
        raise Refused(f"--assets={folder} is a file: give a folder")
    if options.offline:
        chosen = manifests.select(known, options.what) if options.what else known
        finish([line for manifest in chosen for line in check(manifest, folder, asked=bool(options.what))])
        return
    if not options.what:
        raise Refused("give --what=NAME,NAME (see --list), or --offline to check what is there")
    chosen = manifests.select(known, options.what)
    unaccepted = [m for m in chosen if needs_consent(m) and m.label not in options.accept]
    if unaccepted:
        raise Refused(" ".join(map(consent, unaccepted)))
    finish([line for manifest in chosen for line in get(manifest, folder)])


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


if __name__ == "__main__":
    command.run(Options, main, __doc__)
