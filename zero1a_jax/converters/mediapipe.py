"""Blendshape scores of MediaPipe's face landmarker over time, as people store them: .csv, .json, .jsonl.

A table has a column a category (_neutral, browDownLeft, ...) or a row a category (see `long_tables`), and
perhaps columns of times or frame numbers. JSON
is a list of frames, or a dictionary with the list under `frames` and perhaps `fps`, or one frame a line. A
frame is a list of categories {categoryName, score}, a dictionary name to score, or the landmarker's result
with such a list within; beside them may stand its time. Frames without a face are empty. Source: the results
of MediaPipe's FaceLandmarker for Python (category_name, face_blendshapes) and the web (categoryName,
faceBlendshapes).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax.converters import arkit_rows, long_tables, text_tables, timecode
from zero1a_jax.errors import Refused
from zero1a_jax.types import Recording

FPS = 30.0  # of cameras, where no times are stored
SLOWEST, FASTEST = 0.2, 1000.0
_UNITS = {"ms": 1e-3, "s": 1.0, "us": 1e-6, "ns": 1e-9}
_TIME = re.compile(
    r"(?:video|frame)?(?:timestamp|time|elapsed|t)(?:in)?"
    r"(?:(ms|msec|millis|milliseconds)|(s|sec|secs|seconds)|(us|usec|micros|microseconds)|(ns|nanoseconds))?"
    r"|(ms|milliseconds)|(sec|secs|seconds)"
)
_FRAME = re.compile(r"frame(?:s|id|no|num|number|index|idx|count)?|index|idx|id")
_INSIDE = ("blendshapes", "faceBlendshapes", "face_blendshapes", "blendShapes", "categories", "scores")
_NAME, _SCORE = ("categoryName", "category_name", "name", "displayName", "display_name"), ("score", "value")
_DEEPEST = 6  # of a frame: result, faces, face, categories, category


def load(path: str | os.PathLike, *, fps: float | None = None) -> Recording:
    """Reads scores over time from a table or JSON.

    Args:
      path: the file; .json and .jsonl are JSON, everything else is a table.
      fps: rows a second; None takes it from the times, else from the file's own `fps`, else 30, with a note.

    Returns:
      Recording without rotations; names are MediaPipe's, as the file writes them.

    Raises:
      FileNotFoundError: there is no such file.
      Refused: no such file, no known category, a score that is no number, times that run backward, or as
        `arkit_rows.recording`.
    """
    path = Path(path)
    if path.suffix.lower() in (".json", ".jsonl"):
        return _from_json(path, fps)
    return from_table(text_tables.read(path), fps=fps)


def from_table(table: text_tables.TextTable, *, fps: float | None = None) -> Recording:
    """As `load`, from its table."""
    table = long_tables.wide(table, [c for c, name in enumerate(table.header) if _kind(name) is not None])
    shapes = arkit_rows.columns(table)
    weights = table.numbers(list(shapes.values()))
    stamps: dict[str, np.ndarray] = {}
    for column, name in enumerate(table.header):
        kind = _kind(name)
        names_pictures = kind == "frame" and any(
            re.search("[a-z]", cell, re.I) for cell in table.cells(column)
        )
        if kind is not None and not names_pictures:
            stamps[name] = table.numbers([column])[:, 0]
    times = _times(table.path, stamps, len(weights), fps)
    return arkit_rows.recording(table.path, tuple(shapes), weights, times, lines=table.lines)


def _from_json(path: Path, fps: float | None) -> Recording:
    content = _content(path)
    told = None
    if isinstance(content, dict):
        told = next((content[name] for name in ("fps", "frameRate", "frame_rate") if name in content), None)
        frames = next(
            (v for k in ("frames", "data", "results") if isinstance(v := content.get(k), list)), None
        )
        content = [content] if frames is None else frames
    if not isinstance(content, list) or not content:
        raise Refused(f"{path} is no list of frames with blendshapes")
    if _is_category(content[0]):
        content = [content]
    if told is not None and fps is None:
        fps = _number(path, told, "fps")
        if not fps > 0:
            raise Refused(f"{path}: its fps is {told!r:.40}; a rate is above 0")
    scores: list[dict[str, float]] = []
    stamps: dict[str, np.ndarray] = {}
    for number, frame in enumerate(content):
        scores.append(_scores(path, frame, number, 0))
        for name, value in frame.items() if isinstance(frame, dict) else ():
            names_pictures = _kind(name) == "frame" and isinstance(value, str)
            if _kind(name) is not None and value is not None and not names_pictures:
                stamps.setdefault(name, np.full(len(content), np.nan))[number] = _number(path, value, name)
    names = list(dict.fromkeys(name for frame in scores for name in frame))
    if not names:
        raise Refused(f"{path} holds none of MediaPipe's or ARKit's shapes, such as jawOpen")
    # Where a frame has a face, a name that it leaves out is at rest.
    weights = np.array([[f.get(name, 0.0 if f else np.nan) for name in names] for f in scores])
    return arkit_rows.recording(path, names, weights, _times(path, stamps, len(scores), fps))


def _content(path: Path) -> Any:
    text = text_tables.decoded(path)
    try:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            lines = [line for line in text.splitlines() if line.strip()]
            if len(lines) < 2:
                raise
            return [json.loads(line) for line in lines]
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is not JSON: {error}") from error


def _is_category(thing: Any) -> bool:
    return isinstance(thing, dict) and any(n in thing for n in _NAME) and any(s in thing for s in _SCORE)


def _scores(path: Path, thing: Any, number: int, depth: int) -> dict[str, float]:
    """One frame's scores by name; {} without a face. Of several faces the first counts."""
    if thing is None or thing == []:
        return {}
    if isinstance(thing, dict) and depth < _DEEPEST:
        inside = next((thing[name] for name in _INSIDE if name in thing), thing)
        if inside is not thing:
            return _scores(path, inside, number, depth + 1)
        return _named(path, list(thing.items()))
    if isinstance(thing, list) and depth < _DEEPEST:
        if _is_category(thing[0]):
            if not all(_is_category(item) for item in thing):
                raise Refused(f"{path}, frame {number + 1}: not every category has a name and a score")
            return _named(path, [(_first(item, _NAME), _first(item, _SCORE)) for item in thing])
        if isinstance(thing[0], (list, dict)):
            return _scores(path, thing[0], number, depth + 1)
    raise Refused(f"{path}, frame {number + 1}: no names with scores, but {thing!r:.40}")


def _first(item: dict, names: tuple[str, ...]) -> Any:
    return next((item[name] for name in names if item.get(name) not in (None, "")), None)


def _named(path: Path, items: list[tuple[Any, Any]]) -> dict[str, float]:
    out = {}
    for given, score in items:
        name = arkit_rows.shape_name(given) if isinstance(given, str) else None
        if name is not None:
            out[name] = np.nan if score is None else _number(path, score, name)
    return out


def _number(path: Path, value: Any, name: str) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        out = float(value)
    except (ValueError, OverflowError):
        raise Refused(f"{path}: {name} is {value!r:.40}, which is no number") from None
    if np.isinf(out):
        raise Refused(f"{path}: {name} is not finite")
    return out


def _kind(name: str) -> str | None:
    """What a column or key of this name holds: "time" with its unit ("time", "time ms"), "frame", or None."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower().replace("\u00b5", "u").replace("\u03bc", "u"))
    if _FRAME.fullmatch(plain):
        return "frame"
    match = _TIME.fullmatch(plain)
    if match is None:
        return None
    ms, s, us, ns, bare_ms, bare_s = match.groups()
    plural = name.lower() in ("ts", "timestamps", "times")  # more likely than "t in seconds"
    unit = (
        "ms" if ms or bare_ms else "us" if us else "ns" if ns else "s" if (s or bare_s) and not plural else ""
    )
    return f"time {unit}".strip()


def _times(path: Path, stamps: dict[str, np.ndarray], rows: int, fps: float | None) -> timecode.Times:
    """When `rows` rows were seen: by their times, else by frame numbers, else one after the other."""
    if fps is not None and not fps > 0:
        raise Refused(f"fps is {fps}; give the recording rate, such as 30")
    kind, name, values = _clock(path, stamps, ("time", "frame") if fps is None else ("frame",))
    steps = np.diff(values)
    if kind.startswith("time") and (steps > 0).any():
        seconds = values * _unit(kind, float(np.median(steps[steps > 0])))
        rate = timecode.rate_of(seconds) or FPS
        if not SLOWEST <= rate <= FASTEST:
            raise Refused(f"{path}: by {name} there are {rate:g} rows a second; name its unit, as in time_ms")
        return timecode.Times(seconds, _whole(seconds * rate), rate)
    counted = values if kind == "frame" else np.arange(float(rows))
    rate = float(fps or FPS)
    assumed = (
        f"no times are stored: {rate:g} frames a second are assumed (--motion_fps or fps says another rate)."
    )
    notes = (assumed,) if fps is None and rows > 1 else ()
    return timecode.Times(counted / rate, _whole(counted), rate, notes)


def _clock(path: Path, stamps: dict[str, np.ndarray], kinds: tuple[str, ...]) -> tuple[str, str, np.ndarray]:
    """Kind, name and values since the first row of the first stamp of one of `kinds`; "" where none is."""
    for wanted in kinds:
        for name, values in stamps.items():
            kind = _kind(name) or ""
            if not kind.startswith(wanted):
                continue
            steps = np.diff(values)
            if np.isnan(values).any():
                raise Refused(f"{path}: {name} is missing in row {int(np.argmax(np.isnan(values))) + 1}")
            if (steps < 0).any():
                raise Refused(f"{path}: {name} runs backward after row {int(np.argmax(steps < 0)) + 1}")
            counts = kind == "time" and len(steps) and (steps == 1).all()
            return "frame" if counts else kind, name, values - values[0]
    return "", "", np.zeros(0)


def _unit(kind: str, step: float) -> float:
    """Seconds of one unit of a time whose usual step this is."""
    told = kind.removeprefix("time").strip()
    return _UNITS[told or ("s" if step < 1 else "ms" if step < 1000 else "us" if step < 1e6 else "ns")]


def _whole(frames: np.ndarray) -> np.ndarray:
    return np.clip(np.round(frames), 0, 2**53).astype(np.int64)
