"""SymGEN: the dataset and the avatar build each other, along a curriculum."""

from zero1a_jax.symgen import dataset
from zero1a_jax.symgen.carry import Seen, carry_over, outrank, seen_by
from zero1a_jax.symgen.curriculum import (
    PORTRAIT,
    REAL,
    SPATIAL,
    SYNTHETIC,
    Plan,
    boundaries,
    plan,
    stages,
)
from zero1a_jax.symgen.dataset import ACCEPTED, BLANK, LANDMARKS_LOST, NOT_FINITE, REASONS
from zero1a_jax.symgen.detail import detailed
from zero1a_jax.symgen.generate import (
    check,
    clean_matte,
    condition_images,
    condition_points,
    refresh,
    render_sample,
)
from zero1a_jax.symgen.paint import Painted, paint_over
from zero1a_jax.symgen.protocol import Diffusion
from zero1a_jax.symgen.sequences import MOTION_FPS, Samples, build_samples, sequence
from zero1a_jax.symgen.update import Batch, Metrics, Part, init_state, part_of, step, update

__all__ = [
    "ACCEPTED",
    "BLANK",
    "LANDMARKS_LOST",
    "MOTION_FPS",
    "NOT_FINITE",
    "PORTRAIT",
    "Part",
    "REAL",
    "REASONS",
    "SPATIAL",
    "SYNTHETIC",
    "Batch",
    "Diffusion",
    "Metrics",
    "Painted",
    "Plan",
    "Samples",
    "Seen",
    "boundaries",
    "build_samples",
    "carry_over",
    "check",
    "clean_matte",
    "condition_images",
    "condition_points",
    "dataset",
    "detailed",
    "init_state",
    "outrank",
    "paint_over",
    "part_of",
    "plan",
    "refresh",
    "render_sample",
    "seen_by",
    "sequence",
    "stages",
    "step",
    "update",
]
