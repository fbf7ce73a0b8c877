"""A user's own table of what ARKit's shapes ask of FLAME, in the layouts that go around. Executes nothing.

None is shipped: those known to us are bound to FLAME's licence, or have none (see docs/assets.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax.converters.checked import numbers, table
from zero1a_jax.converters.flame import VERTICES
from zero1a_jax.converters.pickles.unpickle import BadFile, load_npy, load_npz

_SIDED = (
    "browDown browOuterUp cheekSquint eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp eyeSquint eyeWide "
    "mouthDimple mouthFrown mouthLowerDown mouthPress mouthSmile mouthStretch mouthUpperUp noseSneer"
)
_SINGLE = (
    "browInnerUp cheekPuff jawForward jawLeft jawOpen jawRight mouthClose mouthFunnel mouthLeft mouthPucker "
    "mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper tongueOut"
)
# ARKit's 52 in the order of the alphabet.
NAMES = tuple(
    sorted([*_SINGLE.split(), *(n + s for n in _SIDED.split() for s in ("Left", "Right"))], key=str.lower)
)
# MediaPipe's 52: the same without the tongue, behind a score of the neutral face.
MEDIAPIPE = ("_neutral", *(name for name in NAMES if name != "tongueOut"))
EXPRESSION, JAW, POSE, EYE = "bs2exp", "bs2jaw", "bs2pose", "bs2eye"


@dataclass(frozen=True)
class ArkitTable:
    """What a file says of K shapes: coefficients and rotation vectors, or offsets of FLAME's vertices.

    `version` is the FLAME version whose coefficients they are, "" where any will do or the file is silent.
    """

    names: tuple[str, ...]
    expression: np.ndarray | None  # [K, E] float32
    jaw: np.ndarray  # [K, 3] float32, radians
    eyes: np.ndarray  # [K, 2, 3] float32, radians, left then right
    deltas: np.ndarray | None  # [K, 5023, 3] float32, metres
    version: str


def load(path: str | os.PathLike) -> ArkitTable:
    """Reads a table of ARKit's shapes.

    - A folder with bs2exp.npy [52, E] and bs2jaw.npy [52, 3] (or bs2pose.npy [52, 6], its last three),
      perhaps bs2eye.npy [52, 6]: rows are MediaPipe's 52 scores. Layout of mediapipe-blendshapes-to-flame,
      for FLAME 2020.
    - A .npy [52, 5023, 3] of vertex offsets in metres, rows in the order of the alphabet. Layout of LAM's
      flame_arkit_bs.npy; offsets suit every FLAME version.
    - A .npz with names [K], expression [K, E], perhaps jaw [K, 3], eyes [K, 6] or [K, 2, 3], flame_version.

    Raises:
      FileNotFoundError: nothing is there.
      Refused: damaged, hostile, or in none of these layouts; the message names the file and what is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no ARKit table at {path}")
    try:
        if path.is_dir():
            return _scores(path)
        return _offsets(load_npy(path)) if path.suffix.lower() == ".npy" else _named(load_npz(path))
    except BadFile as error:
        text = str(error)
        raise BadFile(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _scores(folder: Path) -> ArkitTable:
    found = {p.stem: load_npy(p) for p in sorted(folder.glob("bs2*.npy"))}
    rows, dropped = len(MEDIAPIPE), slice(1, None)  # the neutral score moves nothing
    expression = numbers(found, EXPRESSION, (rows, None))
    if JAW in found or POSE not in found:
        jaw = numbers(found, JAW, (rows, 3))
    else:
        jaw = numbers(found, POSE, (rows, 6))[:, 3:]  # in front is the head's rotation
    eyes = numbers(found, EYE, (rows, 6)) if EYE in found else np.zeros((rows, 6), np.float32)
    return ArkitTable(
        names=MEDIAPIPE[dropped],
        expression=expression[dropped],
        jaw=jaw[dropped],
        eyes=eyes.reshape(rows, 2, 3)[dropped],
        deltas=None,
        version="flame2020",
    )


def _offsets(content: Any) -> ArkitTable:
    if isinstance(content, np.ndarray) and content.ndim == 2:
        raise BadFile(
            f"it is a matrix of shape {content.shape} whose rows have no names; "
            "save it as .npz with names, expression and jaw"
        )
    deltas = numbers({"the array": content}, "the array", (len(NAMES), VERTICES, 3))
    largest = float(np.abs(deltas).max())
    if largest > 0.2:
        raise BadFile(f"its offsets reach {largest:.3g}; a face moves by centimetres, in metres")
    count = len(NAMES)
    zeros = np.zeros((count, 2, 3), np.float32)
    return ArkitTable(NAMES, None, zeros[:, 0], zeros, deltas, "")


def _named(content: Any) -> ArkitTable:
    content = table(content, "ARKit table")
    listed = content.get("names")
    if (
        not isinstance(listed, np.ndarray)
        or listed.ndim != 1
        or listed.dtype.kind not in "US"
        or not len(listed)
    ):
        raise BadFile("names is no list of the shapes' names")
    names = tuple(n.decode("latin1") if isinstance(n, bytes) else str(n) for n in listed)
    count, known = len(names), {name.lower() for name in NAMES}
    if len({name.lower() for name in names}) < count:
        raise BadFile("a name comes twice")
    strange = [name for name in names if name.lower() not in known]
    if strange:
        raise BadFile(f"{strange[0]!r:.40} is none of ARKit's shapes")
    right = {name.lower(): name for name in NAMES}
    jaw, eyes = np.zeros((count, 3), np.float32), np.zeros((count, 2, 3), np.float32)
    if "jaw" in content:
        jaw = numbers(content, "jaw", (count, 3))
    if "eyes" in content:
        shape = (count, 6) if np.ndim(content["eyes"]) == 2 else (count, 2, 3)
        eyes = numbers(content, "eyes", shape).reshape(count, 2, 3)
    version = content.get("flame_version", np.array(""))
    if not isinstance(version, np.ndarray) or version.shape != () or version.dtype.kind not in "US":
        raise BadFile("flame_version is no text")
    return ArkitTable(
        names=tuple(right[name.lower()] for name in names),
        expression=numbers(content, "expression", (count, None)),
        jaw=jaw,
        eyes=eyes,
        deltas=None,
        version=str(version.astype("U")),
    )
