"""A picture of a face to a fitted portrait: load, detect, fit, matte, crop."""

from zero1a_jax.preprocess.detect import Detection, Detector, assets_notes, find_detector
from zero1a_jax.preprocess.detect_embedded import embedded_detector
from zero1a_jax.preprocess.detect_mediapipe import mediapipe_detector
from zero1a_jax.preprocess.fit import Fit, fit
from zero1a_jax.preprocess.load import Picture, load_image, load_mask
from zero1a_jax.preprocess.look import pictures
from zero1a_jax.preprocess.matte import matte
from zero1a_jax.preprocess.pose import place
from zero1a_jax.preprocess.prepare import Prepared, compose, prepare, prepare_all, silhouette
from zero1a_jax.preprocess.refine import refine
from zero1a_jax.preprocess.segment import Segmenter, find_segmenter, mediapipe_segmenter

__all__ = [
    "Detection",
    "Detector",
    "Fit",
    "Picture",
    "Prepared",
    "Segmenter",
    "assets_notes",
    "compose",
    "find_detector",
    "find_segmenter",
    "fit",
    "load_image",
    "load_mask",
    "matte",
    "embedded_detector",
    "mediapipe_detector",
    "mediapipe_segmenter",
    "pictures",
    "place",
    "prepare",
    "prepare_all",
    "refine",
    "silhouette",
]
