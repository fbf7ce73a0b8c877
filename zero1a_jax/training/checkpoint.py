"""Checkpoints: Orbax arrays, a SHA-256 manifest a step, atomic, and loud when none can be read.

  checkpoints/00000500/arrays/        what Orbax wrote: one array a leaf, named by its path in the pytree
  checkpoints/00000500/manifest.json  the SHA-256 and size of every file in arrays/

A folder gets its name only when it is complete. A bit that flips later fails the manifest, and restoring
goes on to the next older step.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from zero1a_jax import files
from zero1a_jax.errors import Refused

_MANIFEST, _ARRAYS = "manifest.json", "arrays"
_SAVING, _DELETING = ".saving-", ".deleting-"


def steps(folder: str | os.PathLike) -> list[int]:
    """The steps that have a checkpoint folder, oldest first, readable or not."""
    folder = Path(folder)
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def save(folder: str | os.PathLike, step: int, tree: Any, *, keep: int = 2) -> Path:
    """Writes `tree` (a pytree of arrays) as the checkpoint of `step` and removes all but the newest `keep`.

    Returns only when everything is on the disk. Raises OSError where it does not fit.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    arrays = _named(tree)
    needed = sum(array.nbytes for array in arrays.values())
    free = shutil.disk_usage(folder).free
    if free < 1.1 * needed + 2**20:
        raise OSError(
            f"checkpoint {step} needs {needed / 2**20:.0f} MiB but {folder} has {free / 2**20:.0f} MiB free; "
            "make room and start the same command again"
        )
    unfinished = folder / f"{_SAVING}{step}"
    try:
        _write(unfinished / _ARRAYS, arrays)
        _describe(unfinished, step)
        final = folder / f"{step:08d}"
        if final.exists():
            _remove(final)
        os.replace(unfinished, final)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _sync(folder)
    for old in steps(folder)[:-keep]:
        _remove(folder / f"{old:08d}")
    return final


def restore(folder: str | os.PathLike, like: Any) -> tuple[int, Any, list[str]] | None:
    """The newest readable checkpoint, or None where the folder never had one.

    Args:
      folder: `checkpoints/` of a run.
      like: a pytree with the structure, shapes and dtypes to expect; static fields are taken from it.

    Returns:
      (step, tree of numpy arrays, one line for every newer checkpoint that had to be skipped).

    Raises:
      Refused: there are checkpoints but none can be read. A run never starts again at 0 by itself.
    """
    folder = Path(folder)
    found = steps(folder)
    if not found:
        return None
    skipped = []
    for step in reversed(found):
        path = folder / f"{step:08d}"
        trouble = verify(path)
        if not trouble:
            return step, _load(path, like), skipped
        skipped.append(f"checkpoint {step} skipped: {trouble}")
    raise Refused(
        f"none of the {len(found)} checkpoints in {folder} can be read ({'; '.join(skipped)}); "
        "restore one from a copy, or choose another --workdir to start anew"
    )


def verify(path: Path) -> str:
    """What is wrong with a checkpoint folder, or "" where it is exactly what was written."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text("utf-8"))["files"]
    except FileNotFoundError:
        return "its manifest is missing"
    except (ValueError, KeyError, TypeError):
        return "its manifest is damaged"
    present = dict(_files(path / _ARRAYS))
    for name, expected in manifest.items():
        if name not in present:
            return f"{name} is missing"
        if _digest(present[name]) != expected:
            return f"{name} does not match its checksum"
    return ""


def remove_unfinished(folder: Path) -> None:
    """Removes what a killed save or removal left behind."""
    for path in folder.iterdir():
        if path.name.startswith((_SAVING, _DELETING)):
            shutil.rmtree(path)


def _alone() -> ocp.Checkpointer:
    """A Checkpointer that waits for no other process of the run: one alone reads and writes."""
    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"zero1a_jax{own}"
    )
    return ocp.Checkpointer(
        ocp.PyTreeCheckpointHandler(multiprocessing_options=options), multiprocessing_options=options
    )


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Raises OSError where the system did not take them, for which Orbax has other errors."""
    log = logging.getLogger("absl")
    disabled, log.disabled = log.disabled, True  # Orbax logs the traceback of what it raises
    try:
        with _alone() as checkpointer:
            checkpointer.save(path.absolute(), arrays)
    except (ValueError, RuntimeError) as error:
        reason = re.search(r"([^:]*) \[os_error_code='\d+'\]", str(error))
        if reason is None:
            raise
        raise OSError(f"{path.parent.parent} cannot be written to:{reason[1]}") from error
    finally:
        log.disabled = disabled


def _describe(folder: Path, step: int) -> None:
    """Writes the manifest; with it everything is on the disk."""
    manifest = {name: _digest(path) for name, path in _files(folder / _ARRAYS)}
    with open(folder / _MANIFEST, "w", encoding="utf-8") as file:
        json.dump({"step": step, "files": manifest}, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    for _, path in _files(folder / _ARRAYS):
        _sync(path)


def _named(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def load_arrays(path: Path, *, under: str = "") -> dict[str, np.ndarray]:
    """The arrays of a checkpoint folder by their path in the pytree, such as "state.avatar.alive".

    `under` leaves out, and does not read, those whose path begins otherwise.
    """
    arrays = (path / _ARRAYS).absolute()
    with _alone() as checkpointer:
        if not under:
            return checkpointer.restore(arrays)
        about = checkpointer.metadata(arrays).item_metadata
        if about is None:
            raise OSError(f"{path} cannot be read")
        wanted = {name: 0 for name in about.tree if name.startswith(under)}
        return checkpointer.restore(arrays, args=ocp.args.PyTreeRestore(item=wanted, partial_restore=True))


def _load(path: Path, like: Any) -> Any:
    arrays = load_arrays(path)
    expected = _named(like)
    wrong = sorted(set(expected) ^ set(arrays))
    if wrong:
        raise Refused(f"{path} does not fit this program: it differs in {wrong[0]}; use another --workdir")
    for name, array in expected.items():
        if arrays[name].shape != array.shape or arrays[name].dtype != array.dtype:
            raise Refused(
                f"{path}: {name} is {arrays[name].dtype}{list(arrays[name].shape)} but this configuration "
                f"has {array.dtype}{list(array.shape)}; use another --workdir"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [np.asarray(arrays[name]) for name in expected])


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), path) for path in paths]


def _digest(path: Path) -> dict[str, Any]:
    return {"sha256": files.sha256(path), "bytes": path.stat().st_size}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    """Renames first: a half-removed folder must not look like a checkpoint."""
    hidden = path.with_name(f"{_DELETING}{path.name}")
    if hidden.exists():
        shutil.rmtree(hidden)
    os.replace(path, hidden)
    shutil.rmtree(hidden)
