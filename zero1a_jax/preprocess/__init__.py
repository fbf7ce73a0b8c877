"""A picture of a face to a fitted portrait: load, detect, fit, matte, crop."""

from zero1a_jax.preprocess.detect import Detection, Detector, find_detector
from zero1a_jax.preprocess.detect_embedded import embedded_detector
from zero1a_jax.preprocess.detect_mediapipe import mediapipe_detector
from zero1a_jax.preprocess.fit import Fit, fit
from zero1a_jax.preprocess.load import load_image
from zero1a_jax.preprocess.look import pictures
from zero1a_jax.preprocess.matte import matte
from zero1a_jax.preprocess.prepare import Prepared, prepare, prepare_all, silhouette
from zero1a_jax.preprocess.refine import refine

__all__ = [
    "Detection",
    "Detector",
    "Fit",
    "Prepared",
    "find_detector",
    "fit",
    "load_image",
    "matte",
    "embedded_detector",
    "mediapipe_detector",
    "pictures",
    "prepare",
    "prepare_all",
    "refine",
    "silhouette",
]
