"""FLAME-like heads as pure functions."""

from zero1a_jax.flame.landmarks import contour_row, landmarks68, landmarks_drawn, landmarks_mediapipe, pupils
from zero1a_jax.flame.model import forward, frame_target, shaped_template, with_arkit, zero_params
from zero1a_jax.flame.pncc import pncc
from zero1a_jax.flame.procedural import procedural_head
from zero1a_jax.flame.teeth import add_teeth, lip_rings

__all__ = [
    "add_teeth",
    "contour_row",
    "forward",
    "frame_target",
    "landmarks68",
    "landmarks_drawn",
    "landmarks_mediapipe",
    "lip_rings",
    "pncc",
    "procedural_head",
    "pupils",
    "shaped_template",
    "with_arkit",
    "zero_params",
]
