"""MediaPipe's selfie segmenter, where its model file is there, as a function from pixels to the person."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.preprocess.detect import SEGMENTER_FILES, assets_folder, has_mediapipe, import_mediapipe

Segmenter = Callable[[np.ndarray], np.ndarray]
"""A function of a picture [H, W, 3] uint8 to the probability [H, W] float32 of each pixel to be a person."""


def find_segmenter(assets: str | os.PathLike | None = None) -> Segmenter | None:
    """MediaPipe's segmenter where one of its model files and its package are there, else None.

    `assets` is a folder; without it the environment variable ZERO1A_ASSETS is read. Raises Refused when
    the named folder does not exist, or its file is no such model.
    """
    folder = assets_folder(assets)
    if folder is not None and has_mediapipe():
        for name in SEGMENTER_FILES:
            if (folder / name).is_file():
                files.refuse_stand_in(folder / name)
                return mediapipe_segmenter(folder / name)
    return None


def mediapipe_segmenter(path: str | os.PathLike) -> Segmenter:
    """A segmenter around a model file. Raises Refused where it is none, or MediaPipe cannot be imported.

    A model of one output gives the person, one of several classes the background first.
    """
    mediapipe = import_mediapipe()
    vision = mediapipe.tasks.vision
    try:
        options = vision.ImageSegmenterOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_buffer=Path(path).read_bytes()),
            running_mode=vision.RunningMode.IMAGE,
            output_confidence_masks=True,
        )
        vision.ImageSegmenter.create_from_options(options).close()  # a wrong file is known at once
    except (RuntimeError, ValueError, OSError) as error:
        raise Refused(f"{path} is not a MediaPipe segmenter model.") from error

    def segment(picture: np.ndarray) -> np.ndarray:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        # Opened for each picture: one kept open fails noisily when the interpreter ends.
        with vision.ImageSegmenter.create_from_options(options) as model:
            masks = [np.array(mask.numpy_view()) for mask in model.segment(image).confidence_masks]
        first = masks[0].reshape(picture.shape[:2]).astype(np.float32)
        return np.clip(first if len(masks) == 1 else 1.0 - first, 0.0, 1.0)

    return segment
