"""A model behind frames of another size than its own: they are shrunk for it, and what it makes is enlarged.

Its detail stays what its own size can hold. What a run knows better, from the portrait and the texture prior,
is drawn at the frames' size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zero1a_jax.image import ops
from zero1a_jax.types import Array


@dataclass(frozen=True, eq=False)
class Resized:
    """A diffusion (symgen.protocol) whose frames have the side `frame_size`; all else is the `model`'s."""

    model: Any
    frame_size: int  # pixels

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "model":  # asked for while a copy is made
            raise AttributeError(name)
        return getattr(self.model, name)

    # Runs of one size share their programs; a model's own arrays have no hash.
    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Resized) and self.model is other.model
        return same and self.frame_size == other.frame_size

    def __hash__(self) -> int:
        return hash((id(self.model), self.frame_size))

    def reference(self, params: Any, rgb: Array, condition: Array) -> Any:
        """The model's, of a portrait [H, H, 3]."""
        return self.model.reference(params, self._small(rgb), condition)

    def encode(self, params: Any, frames: Array) -> Array:
        """The model's latents of frames [T, H, H, 3]."""
        return self.model.encode(params, self._small(frames))

    def decode(self, params: Any, latents: Array) -> Array:
        """Frames [T, H, H, 3] of the model's latents."""
        return ops.resize(self.model.decode(params, latents), self.frame_size, self.frame_size)

    def _small(self, frames: Array) -> Array:
        return ops.resize(frames, self.model.frame_size, self.model.frame_size)


def resized(model: Any, frame_size: int) -> Any:
    """`model` for frames of the side `frame_size`; itself where that is its own."""
    return model if model.frame_size == frame_size else Resized(model, frame_size)
