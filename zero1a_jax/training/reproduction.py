"""Whether two finished runs have the same bits, and in what their surroundings differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax import outputs
from zero1a_jax.errors import Refused
from zero1a_jax.training import checkpoint

# Of a run's surroundings these do not decide bits, or are compared by themselves.
FREE = ("platform", "input", "devices")


def surroundings(one: Path, other: Path) -> list[str]:
    """One line for each entry of environment.json that differs and may explain other bits."""
    paths = [folder / "environment.json" for folder in (one, other)]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:  # of a run that began with another's portrait
        return [f"there is no {missing[0]}: what differs around the runs is not known"]
    first, second = (_flat(json.loads(path.read_text("utf-8"))) for path in paths)
    names = sorted(name for name in first | second if name.split(".")[0] not in FREE)
    return [
        f"{name}: was {first.get(name)}, now {second.get(name)}"
        for name in names
        if first.get(name) != second.get(name)
    ]


def differences(one: Path, other: Path) -> tuple[int, list[str]]:
    """How many things were compared, and one line for each that has other bits.

    Compared are the portrait, the arrays of the last checkpoint (parameters, optimiser, dataset), the decoded
    frames of all videos, and the metrics without the seconds.

    Raises Refused where a run is not finished or a file cannot be read.
    """
    count, found = 0, []
    for name, a, b in _pairs(one, other):
        count += 1
        if a is None or b is None:
            found.append(f"{name}: there is none in {one if a is None else other}")
        elif a.shape != b.shape or a.dtype != b.dtype:
            found.append(f"{name}: {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}")
        elif a.tobytes() != b.tobytes():
            parts = np.frombuffer(a.tobytes(), np.uint8) != np.frombuffer(b.tobytes(), np.uint8)
            share = parts.reshape(max(a.size, 1), -1).any(1).mean()
            found.append(f"{name}: {share:.2%} of {a.size} values have other bits")
    return count, found


def _pairs(one: Path, other: Path) -> Iterator[tuple[str, Any, Any]]:
    for kind, read in (("portrait", _portrait), ("checkpoint", _checkpoint), ("metrics", _metrics)):
        first, second = read(one), read(other)
        for name in sorted(first | second):
            yield f"{kind} {name}", first.get(name), second.get(name)
    videos = {path.name for folder in (one, other) for path in (folder / "videos").glob("*.mp4")}
    for name in sorted(videos):
        frames = [
            np.asarray(outputs.video.read(path)[0]) if path.is_file() else None
            for path in (one / "videos" / name, other / "videos" / name)
        ]
        yield f"video {name}", frames[0], frames[1]


def _portrait(folder: Path) -> dict[str, np.ndarray]:
    path = folder / "portrait.npz"
    if not path.stat().st_size:
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _checkpoint(folder: Path) -> dict[str, np.ndarray]:
    steps = checkpoint.steps(folder / "checkpoints")
    if not steps or not (folder / "metrics.json").is_file():
        raise Refused(f"{folder} holds no finished run")
    last = folder / "checkpoints" / f"{steps[-1]:08d}"
    if trouble := checkpoint.verify(last):
        raise Refused(f"{last}: {trouble}")
    return checkpoint.load_arrays(last) | {"step": np.array(steps[-1])}


def _metrics(folder: Path) -> dict[str, np.ndarray]:
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    return {name: np.array(str(value)) for name, value in metrics.items() if name != "seconds"}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return out
