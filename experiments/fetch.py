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

import os
from dataclasses import dataclass
from pathlib import Path

from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused
from zero1a_jax.fetching import manifests
from zero1a_jax.fetching.fetch import check, consent, finish, get, needs_consent, table


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
        "", "Folder of manifests (.toml), such as a mirror's; else those that come along."
    )


def main(options: Options) -> None:
    """Lists, fetches or checks. Refused at the end where something is missing or wrong."""
    known = manifests.load(Path(options.manifests or manifests.SHIPPED))
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


if __name__ == "__main__":
    command.run(Options, main, __doc__)
