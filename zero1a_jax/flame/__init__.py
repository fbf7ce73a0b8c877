"""FLAME-like heads as pure functions."""

from zero1a_jax.flame.model import forward, frame_target, shaped_template, zero_params

__all__ = ["forward", "frame_target", "shaped_template", "zero_params"]
