"""Finding the face: MediaPipe where its model is there, else the embedded landmark net."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax import files
from zero1a_jax.errors import NoFace, Refused

MEDIAPIPE_FILE = "face_landmarker.task"
SEGMENTER_FILES = ("selfie_multiclass_256x256.tflite", "selfie_segmenter.tflite")
FIRST_IRIS = 468  # ids from there on are the irises
NO_FACE = "No face was found in the picture: use one where a face is upright, unhidden and large enough."


@dataclasses.dataclass(frozen=True)
class Detection:
    """One face in a picture.

    points [K, 2] pixels (x, y; centres at +0.5) of the MediaPipe face-mesh ids [K]. ids from 468 on are
    the iris points (468 and 473 the centres of the subject's right and left). rotation [3, 3] turns the
    head's axes (x the subject's left, y up, z out of the face) into the camera's turned to x right, y up,
    z toward the viewer: the identity faces the camera. scores are ARKit-named, 0..1, or empty.
    faces counts what was found; one is described and `others` are the rest, largest first. spread is how
    far a point lies from the fitted head's, metres, standard deviation, as the fit assumes.
    """

    points: np.ndarray
    ids: np.ndarray
    rotation: np.ndarray
    confidence: float
    scores: dict[str, float]
    faces: int
    source: str
    spread: float = 0.003
    others: tuple[Detection, ...] = ()

    def lookup(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points [K', 2] of the given ids, and which of them are known [K'] (others are zero)."""
        table = np.full(max(int(np.max(self.ids)), int(np.max(ids))) + 1, -1)
        table[self.ids] = np.arange(len(self.ids))
        row = table[np.asarray(ids)]
        return np.where((row >= 0)[:, None], self.points[row], 0.0).astype(np.float32), row >= 0

    def moved(self, transform: np.ndarray) -> Detection:
        """The same face after the affine map [2, 3] of the picture's pixel coordinates."""
        transform = np.asarray(transform, np.float64)
        points = self.points @ transform[:, :2].T + transform[:, 2]
        angle = np.arctan2(transform[1, 0], transform[0, 0])  # clockwise on screen
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])  # y up
        return dataclasses.replace(
            self,
            points=points.astype(np.float32),
            rotation=(turn @ self.rotation).astype(np.float32),
            others=tuple(other.moved(transform) for other in self.others),
        )

    def face(self, index: int) -> Detection:
        """Another face of the same picture: 0 is this one, 1 the next.

        Raises Refused where there are fewer.
        """
        everyone = (self, *self.others)
        if not 0 <= index < len(everyone):
            found = "1 face was" if len(everyone) == 1 else f"{len(everyone)} faces were"
            raise Refused(f"--face_index={index}, but only {found} found: 0 is the largest.")
        rest = (*everyone[:index], *everyone[index + 1 :])
        return dataclasses.replace(everyone[index], others=tuple(alone(face) for face in rest))


def alone(face: Detection) -> Detection:
    """A face without the others."""
    return dataclasses.replace(face, others=())


def together(faces: Sequence[Detection], *, size: Callable[[Detection], float] | None = None) -> Detection:
    """The largest of the faces of a picture, with the others beside it. Of those found twice that one stays.

    `size` says how large a face counts; None where `faces` are in order. Raises NoFace where there are none.
    """
    if size is not None:
        faces = sorted(faces, key=size, reverse=True)
    found: list[Detection] = []
    for face in faces:
        if not any(_same(face, other) for other in found):
            found.append(face)
    if not found:
        raise NoFace(NO_FACE)
    first, *others = (dataclasses.replace(face, faces=len(found), others=()) for face in found)
    return dataclasses.replace(first, others=tuple(others))


def _same(one: Detection, other: Detection) -> bool:
    (a, size), (b, other_size) = extent(one), extent(other)
    return bool(np.linalg.norm(a - b) < 0.5 * max(size, other_size))


def extent(face: Detection) -> tuple[np.ndarray, float]:
    """Middle [2] and larger side of the box around a face's points, irises aside."""
    points = face.points[np.asarray(face.ids) < FIRST_IRIS]
    low, high = points.min(0), points.max(0)
    return 0.5 * (low + high), float((high - low).max())


Detector = Callable[[np.ndarray], Detection]
"""A function of a picture [H, W, 3] uint8 to its largest face; raises NoFace where it finds none."""


def find_detector(assets: str | os.PathLike | None = None) -> Detector:
    """MediaPipe where its model file and its package are there, else the embedded landmark net.

    `assets` is a folder that may hold face_landmarker.task; without it the environment variable
    ZERO1A_ASSETS is read. Raises Refused when the named folder does not exist.
    """
    file = landmarker(assets)
    if file is not None and has_mediapipe():
        from zero1a_jax.preprocess.detect_mediapipe import mediapipe_detector

        return mediapipe_detector(file)
    from zero1a_jax.preprocess.detect_embedded import embedded_detector

    return embedded_detector()


def landmarker(assets: str | os.PathLike | None = None) -> Path | None:
    """MediaPipe's face landmarker in the folder of optional models, by its name or else by its content."""
    folder = assets_folder(assets)
    if folder is None:
        return None
    if (folder / MEDIAPIPE_FILE).is_file():
        files.refuse_stand_in(folder / MEDIAPIPE_FILE)
        return folder / MEDIAPIPE_FILE
    return next((path for path in sorted(folder.glob("*.task")) if _is_landmarker(path)), None)


def _is_landmarker(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as bundle:
            return any("face_landmarks_detector" in name for name in bundle.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def assets_notes(assets: str | os.PathLike | None = None) -> tuple[str, ...]:
    """A sentence where the folder of optional models is named and its models cannot be used."""
    folder = assets_folder(assets)
    if folder is None:
        return ()
    if landmarker(folder) is None and not any((folder / name).is_file() for name in SEGMENTER_FILES):
        known = f"{MEDIAPIPE_FILE} or {SEGMENTER_FILES[0]}"
        return (f"{folder} holds no {known}: the embedded net finds the face.",)
    if not has_mediapipe():
        return ("MediaPipe is not installed (pip install mediapipe): the embedded net finds the face.",)
    return ()


def assets_folder(assets: str | os.PathLike | None = None) -> Path | None:
    """The folder of optional models: `assets`, else ZERO1A_ASSETS. Refused where it does not exist."""
    folder = assets or os.environ.get("ZERO1A_ASSETS")
    if folder and not Path(folder).is_dir():
        what = "is a file, not a folder" if Path(folder).is_file() else "does not exist"
        raise Refused(f"The assets folder {folder} {what}: check --assets or ZERO1A_ASSETS.")
    return Path(folder) if folder else None


def has_mediapipe() -> bool:
    """Whether MediaPipe is installed."""
    from importlib.util import find_spec

    return find_spec("mediapipe") is not None


def import_mediapipe() -> Any:
    """MediaPipe. Raises Refused where it is absent, or lacks a library of the system, as libGL on servers."""
    try:
        import mediapipe
    except (ImportError, OSError) as error:
        raise Refused(
            f"MediaPipe cannot be imported ({error}): pip install mediapipe and what this "
            "names, or leave out --assets and ZERO1A_ASSETS for the embedded net."
        ) from error
    return mediapipe
