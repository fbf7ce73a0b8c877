"""What SymGEN needs of a portrait video diffusion. Any model that has this fits behind the loop."""

from __future__ import annotations

from typing import Any, Protocol

from zero1a_jax.types import Array


class Diffusion(Protocol):
    """Pure functions over videos, the parameters first; they are traced and compiled by the caller.

    A video has T frames, square, channel-last, in 0..1. H is `frame_size`, S is `condition_size`. Latents are
    one float array with T in front and any shape behind; the parameters, and what `reference` makes, are any
    pytrees of arrays. `zero1a_jax.diffusion.adapt` makes all of it from an encoder, a decoder and a
    function that predicts velocities; docs/own_diffusion.md has a whole model in ten lines.

    frame_size: H, pixels.
    condition_size: S, pixels.
    condition: what condition images show, one of symgen.KINDS.
    reference(params, rgb [H, W, 3], condition [S, S, 3]): what a portrait and its own condition image give to
        the model; made once a run.
    encode(params, frames [T, H, H, 3]) -> latents [T, ...]; decode(params, latents) -> frames in 0..1.
    invert(params, latents, reference, conditions [T, S, S, 3], *, steps, strength, iterations, guidance):
        latents -> the noisy latents that `denoise` turns into them again. strength in (0, 1] is how far, 1
        to pure noise; iterations are fixed-point iterations a step; guidance 1 is the model itself.
    denoise(params, latents, reference, conditions, *, steps, strength, guidance): the way back; at strength 1
        also from standard normal noise.
    Everything after the star is static.
    """

    @property
    def frame_size(self) -> int: ...
    @property
    def condition_size(self) -> int: ...
    @property
    def condition(self) -> str: ...

    def reference(self, params: Any, rgb: Array, condition: Array, /) -> Any: ...
    def encode(self, params: Any, frames: Array, /) -> Array: ...
    def decode(self, params: Any, latents: Array, /) -> Array: ...
    def invert(
        self,
        params: Any,
        latents: Array,
        reference: Any,
        conditions: Array,
        /,
        *,
        steps: int,
        strength: float,
        iterations: int,
        guidance: float,
    ) -> Array: ...
    def denoise(
        self,
        params: Any,
        latents: Array,
        reference: Any,
        conditions: Array,
        /,
        *,
        steps: int,
        strength: float,
        guidance: float,
    ) -> Array: ...
