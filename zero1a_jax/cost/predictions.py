"""What a run's diffusion will cost: counted from traced programs, no model is allocated or compiled."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import diffusion, symgen
from zero1a_jax.config import Refresh
from zero1a_jax.cost import counting, datasheets


class Cost(NamedTuple):
    """Of one program."""

    flops: Counter[str]  # by the type that is multiplied
    peak: int  # bytes of intermediates that are alive together

    def seconds(self, speed: datasheets.Speed, fraction: float = datasheets.FRACTION) -> float:
        """On a device of this peak, of which so much is reached."""
        half = sum(count for dtype, count in self.flops.items() if dtype != "float32")
        return (half / speed.half + self.flops["float32"] / speed.single) / fraction


class Prediction(NamedTuple):
    """Of one model and one kind of sample."""

    parameters: int  # numbers
    weights: int  # bytes, in the types that they are kept in
    arguments: int  # bytes of frames, matte, condition images and the portrait's features
    reference: Cost  # the portrait, once a run
    fill: Cost  # a sample from noise
    refresh: Cost  # a dataset update of one sample

    @property
    def memory(self) -> int:
        """Bytes on a device while it refreshes a sample."""
        return self.weights + self.arguments + max(self.fill.peak, self.refresh.peak, self.reference.peak)


def predict(sizes: diffusion.DiffusionConfig, refresh: Refresh, frames: int) -> Prediction:
    """Traces the three programs that a run compiles, at a sample of `frames` frames."""
    functions: Any = diffusion.build(sizes)

    def image(side: int, *lead: int, channels: tuple[int, ...] = (3,)) -> Any:
        return jax.ShapeDtypeStruct((*lead, side, side, *channels), jnp.float32)

    params = shapes_of(sizes)
    side = sizes.frame_size
    portrait = (params, image(side), image(sizes.condition_size))
    reference, features = jax.make_jaxpr(functions.reference, return_shape=True)(*portrait)
    sample = (
        features,
        image(side, frames),
        image(side, frames, channels=()),
        image(sizes.condition_size, frames),
    )

    def refreshed(params: Any, *given: Any, key: Any, from_noise: bool) -> Any:
        return symgen.refresh(
            functions,
            params,
            *given,
            key=key,
            background=jnp.ones(3),
            config=refresh,
            from_noise=from_noise,
        )

    programs = [
        counting.trace(functools.partial(refreshed, from_noise=from_noise), params, *sample, key=key)
        for key in [jax.eval_shape(lambda: jax.random.key(0))]
        for from_noise in (True, False)
    ]
    costs = [Cost(counting.flops(p), counting.peak_bytes(p)) for p in (reference, *programs)]
    return Prediction(counting.count_of(params), counting.bytes_of(params), counting.bytes_of(sample), *costs)


def shapes_of(sizes: diffusion.DiffusionConfig) -> Any:
    """The shapes of a model's parameters, in the types that they are kept in."""
    functions = diffusion.build(sizes)
    return jax.eval_shape(lambda: diffusion.cast(sizes, functions.init(jax.random.key(0))))


def measured(
    size: int = 1024, repeats: int = 7, clock: Callable[[], float] = time.perf_counter
) -> datasheets.Speed:
    """The default device's own speed, by square matrix products; its memory is not known."""
    half, single = (matmul_flops(dtype, size, repeats, clock) for dtype in ("bfloat16", "float32"))
    return datasheets.Speed(half, single, 0.0)


def matmul_flops(dtype: str, size: int, repeats: int, clock: Callable[[], float]) -> float:
    """FLOP/s of products of matrices [size, size] on the default device, the best of `repeats`."""
    a, b = (jax.random.normal(key, (size, size), dtype) for key in jax.random.split(jax.random.key(0)))
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(a, b))
    seconds = []
    for _ in range(repeats):
        start = clock()
        jax.block_until_ready(product(a, b))
        seconds.append(clock() - start)
    return 2.0 * size**3 / float(np.min(seconds))
