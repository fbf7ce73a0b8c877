"""One's own model behind SymGEN: an encoder, a decoder and a velocity become a whole video diffusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from zero1a_jax.diffusion import sample, schedule

Array = jax.Array


class Adapted(NamedTuple):
    """What `symgen.protocol.Diffusion` asks for; see there for arguments and shapes."""

    frame_size: int
    condition_size: int
    condition: str
    reference: Callable[..., Any]
    encode: Callable[..., Array]
    decode: Callable[..., Array]
    invert: Callable[..., Array]
    denoise: Callable[..., Array]
    velocity: Callable[..., Array]
    bars: np.ndarray


def adapt(
    velocity: Callable[..., Array],
    *,
    reference: Callable[..., Any],
    encode: Callable[..., Array],
    decode: Callable[..., Array],
    frame_size: int,
    condition_size: int,
    condition: str = "landmarks",
    bars: np.ndarray | None = None,
) -> Adapted:
    """A video diffusion from the functions that a model is made of; sampler, inversion and guidance are ours.

    Args:
      velocity: velocity(params, latents [T, ...], timestep [], reference, conditions [T, S, S, 3]) -> v like
        latents, where x_t = sqrt(a) x_0 + sqrt(1-a) noise and v = sqrt(a) noise - sqrt(1-a) x_0; with
        reference None without the portrait (the unconditional branch of guidance). A model that predicts
        noise becomes one by `schedule.velocity_of`.
      reference: reference(params, rgb [H, W, 3], condition [S, S, 3]) -> any pytree.
      encode: encode(params, frames [T, H, H, 3]) -> latents. decode: its inverse, in 0..1.
      frame_size: H. condition_size: S. condition: what condition images show, one of symgen.KINDS. Both sizes
        only tell the caller what to render: nothing here looks at them.
      bars: signal power a of every timestep, numpy [train_steps]; None: `schedule.alpha_bars()`.
    """
    signal = schedule.alpha_bars() if bars is None else bars

    def solver(params: Any, portrait: Any, conditions: Array, guidance: float | Array) -> Callable:
        def at(x: Array, timestep: Array) -> Array:
            given = velocity(params, x, timestep, portrait, conditions)
            if isinstance(guidance, int | float) and guidance == 1:
                return given
            free = velocity(params, x, timestep, None, conditions)
            return free + guidance * (given - free)

        return at

    def invert(
        params: Any,
        latents: Array,
        reference: Any,
        conditions: Array,
        *,
        steps: int,
        strength: float = 1.0,
        iterations: int = 3,
        guidance: float = 1.0,
    ) -> Array:
        tables = schedule.sampler_steps(signal, steps, strength)
        return sample.invert(solver(params, reference, conditions, guidance), latents, tables, iterations)

    def denoise(
        params: Any,
        latents: Array,
        reference: Any,
        conditions: Array,
        *,
        steps: int,
        strength: float = 1.0,
        guidance: float = 1.0,
    ) -> Array:
        tables = schedule.sampler_steps(signal, steps, strength)
        return sample.denoise(solver(params, reference, conditions, guidance), latents, tables)

    return Adapted(
        frame_size,
        condition_size,
        condition,
        reference,
        encode=encode,
        decode=decode,
        invert=invert,
        denoise=denoise,
        velocity=lambda params, latents, timestep, portrait, conditions, *, guidance=1.0: solver(
            params, portrait, conditions, guidance
        )(latents, timestep),
        bars=signal,
    )
