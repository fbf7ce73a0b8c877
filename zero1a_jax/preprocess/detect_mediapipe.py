"""MediaPipe's face landmarker (478 points, 52 scores, head pose) as a detector."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zero1a_jax.errors import Refused
from zero1a_jax.preprocess.detect import MEDIAPIPE_FILE, Detection, Detector, import_mediapipe, together

MAX_FACES = 8
SMALLEST = 256  # smaller pictures are enlarged: the landmarker's finder sees at most 128 pixels a side

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


Look = Callable[[np.ndarray, Box], list[Detection]]
"""A function of a picture [H, W, 3] uint8 and a box of it, which may reach beyond, to the faces in there, in
no order, with points in the picture's pixels."""


def mediapipe_detector(path: str | os.PathLike) -> Detector:
    """A detector around the model file face_landmarker.task.

    The whole picture is tried first, then with a margin (a face that fills it), then in overlapping
    parts (a small face). Of several faces the largest comes first. Raises Refused when the file is
    missing or not such a model, where MediaPipe cannot be imported, and on use when no face is found.
    """
    opened = landmarker_opener(path)

    def detect(picture: np.ndarray) -> Detection:
        height, width = picture.shape[:2]
        margin = 0.25 * max(height, width)
        whole = (0.0, 0.0, float(width), float(height))
        wide = (-margin, -margin, width + margin, height + margin)
        # Opened for each picture: one kept open fails noisily when the interpreter ends.
        with opened() as look:
            faces: list[Detection] = []
            for boxes in ([whole], [wide], parts(width, height, 0.6), parts(width, height, 0.35)):
                faces = [face for box in boxes for face in look(picture, box)]
                if faces:
                    break
        return together(faces, size=area)

    return detect


def landmarker_opener(path: str | os.PathLike) -> Callable[[], AbstractContextManager[Look]]:
    """Opens the model file face_landmarker.task for as long as one likes, for many pictures.

    Raises Refused, before it returns, when the file is missing or not such a model, and where MediaPipe
    cannot be imported.
    """
    if not Path(path).is_file():
        raise Refused(f"There is no MediaPipe model at {path}: put {MEDIAPIPE_FILE} there.")
    mediapipe = import_mediapipe()
    vision = mediapipe.tasks.vision
    options = vision.FaceLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_buffer=Path(path).read_bytes()),
        running_mode=vision.RunningMode.IMAGE,
        num_faces=MAX_FACES,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )

    @contextmanager
    def opened() -> Iterator[Look]:
        try:
            landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise Refused(f"{path} is not a MediaPipe face landmarker model.") from error
        with landmarker:
            yield lambda picture, box: _look(mediapipe, landmarker, picture, box)

    with opened():  # a wrong file is known before any picture is read
        return opened


def _look(mediapipe: Any, landmarker: Any, picture: np.ndarray, box: Box) -> list[Detection]:
    """Faces in a box, which may reach beyond the picture; points in the picture's pixels."""
    left, top, right, bottom = box
    scale = max(1.0, SMALLEST / min(right - left, bottom - top))
    size = (round((right - left) * scale), round((bottom - top) * scale))
    cut = Image.fromarray(picture).transform(
        size, Image.Transform.EXTENT, box, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128)
    )
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(cut))
    found = landmarker.detect(image)
    faces = []
    for i, marks in enumerate(found.face_landmarks):
        points = np.array([(mark.x, mark.y) for mark in marks], np.float64)
        points = points * (right - left, bottom - top) + (left, top)
        scores = {item.category_name: float(item.score) for item in found.face_blendshapes[i]}
        scores.pop("_neutral", None)
        u, _, v = np.linalg.svd(np.asarray(found.facial_transformation_matrixes[i], np.float64)[:3, :3])
        faces.append(
            Detection(
                points=points.astype(np.float32),
                ids=np.arange(len(points)),
                rotation=(u @ v).astype(np.float32),
                confidence=1.0,
                scores=scores,
                faces=1,
                source="mediapipe",
            )
        )
    return faces


def area(face: Detection) -> float:
    """Pixels of the box around a face."""
    return float(np.prod(np.ptp(face.points, axis=0)))


def parts(width: int, height: int, part: float) -> list[Box]:
    """Overlapping boxes of `part` of both sides that cover the picture."""
    starts = np.linspace(0.0, 1.0 - part, int(np.ceil(1.0 / part)) + 1)
    return [(x * width, y * height, (x + part) * width, (y + part) * height) for y in starts for x in starts]
