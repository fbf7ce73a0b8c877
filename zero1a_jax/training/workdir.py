"""The folder of a run: its layout, what it says about itself, and whether a command may go on in it.

flags.flagfile config.json environment.json portrait.npz metrics.json report.html avatar.html goodput.json
checkpoints/ tensorboard/ renders/ videos/ export/ logs/
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from zero1a_jax import files
from zero1a_jax.commandline import flagfiles
from zero1a_jax.config import Config, to_values
from zero1a_jax.sources import portraits

FOLDERS = ("checkpoints", "tensorboard", "renders", "videos", "export", "logs")
# Written before config.json, so a killed start leaves them alone.
DESCRIPTIONS = ("portrait.npz", "flags.flagfile", "environment.json")
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "zero1a_jax")
# A lot of room for logs, videos and the report; checkpoints check for themselves.
FREE_BYTES = 200 * 2**20


def conflicts(config: Config) -> list[str]:
    """Why this command may not start or resume in its --workdir, one sentence each. Reads only."""
    folder = Path(config.runner.workdir)
    if why := files.no_folder(folder):
        return [f"--workdir={folder}: {why}."]
    stored = folder / "config.json"
    if not stored.is_file():
        others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        strangers = sorted(set(others) - set(FOLDERS) - set(DESCRIPTIONS) - {"lost+found"})
        strangers = [name for name in strangers if not name.startswith(".")]
        if strangers:
            return [f"--workdir={folder} holds other files ({strangers[0]}): give a new or empty folder."]
        # A killed start leaves them empty; anything in them belongs to a run that lost its description.
        filled = [name for name in FOLDERS if (folder / name).is_dir() and any((folder / name).iterdir())]
        if filled:
            return [
                f"--workdir={folder} holds {filled[0]}/ of a run but no config.json, so the run cannot be "
                "resumed: put the file back, or give another --workdir."
            ]
        return []
    try:
        old = json.loads(stored.read_text("utf-8"))
    except ValueError:
        return [f"{stored} is damaged, so the run cannot be resumed: give another --workdir."]
    changed = flagfiles.differences(old, config)
    if changed:
        return [
            f"--workdir={folder} holds a run with other flags ({'; '.join(changed)}): "
            "use the same flags to resume it, or another --workdir."
        ]
    return image_changed(config, folder)


def image_changed(config: Config, folder: Path) -> list[str]:
    """A sentence where the picture is not the one that the run in `folder` was started with."""
    about = folder / "environment.json"
    image = Path(config.input.image)
    if not about.is_file() or not portraits.files(config.input) or not is_there(config):
        return []
    old = json.loads(about.read_text("utf-8")).get("input", {}).get("sha256")
    if old is not None and old != digest(*portraits.files(config.input)):
        return [f"{image} has changed since the run in {folder} was started: give another --workdir."]
    return []


def is_there(config: Config) -> bool:
    """Whether the picture and its mask are still there; a run that began has its own portrait."""
    return all(Path(path).exists() for path in (config.input.image, config.input.mask) if path)


def create(config: Config, environment: dict[str, Any], *, portrait: bytes) -> Path:
    """Makes the folders and writes portrait.npz and the three descriptions; an existing run keeps its own."""
    folder = Path(config.runner.workdir)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    if not (folder / "config.json").is_file():
        files.write_bytes(folder / "portrait.npz", portrait)
        files.write_text(folder / "flags.flagfile", flagfiles.text(config))
        files.write_json(folder / "environment.json", environment)
        files.write_json(folder / "config.json", to_values(config))  # last: it marks a run
    return folder


def describe(config: Config, devices: list[str], hashes: dict[str, str]) -> dict[str, Any]:
    """What decides a run's bits besides its flags: versions, revision, settings, devices, hashes."""
    given = portraits.files(config.input)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git_revision": _revision(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "nproc": os.environ.get("NPROC", ""),
        "devices": devices,
        "input": {"path": config.input.image, "sha256": digest(*given) if given else None},
        "weights": hashes,
    }


def digest(*paths: str | os.PathLike) -> str:
    """SHA-256 of a file, or of several with their names."""
    found = [files.sha256(path) for path in paths]
    if len(found) == 1:
        return found[0]
    lines = "".join(f"{one}  {Path(path).name}\n" for one, path in zip(found, paths, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The git revision of the source tree, with '+' where it is changed; None outside git."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not git("ls-files", Path(__file__).name):  # installed into a folder of somebody's repository
            return None
        head = git("rev-parse", "HEAD")
        return head + ("+" if git("status", "--porcelain", "-uno") else "") if head else None
    except (OSError, subprocess.TimeoutExpired):
        return None
