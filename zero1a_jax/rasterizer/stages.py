"""Where XLA's CPU compiler shall cut what it would fuse into one long loop for every result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

Values = TypeVar("Values")
Result = TypeVar("Result")


def apart(function: Callable[[Values], Result], values: Values) -> Result:
    """function(values) of arrays [N, ...], N >= 1; on a CPU it is computed alone, after the values.

    Fused, what leads to them would be computed anew for each of their uses, and loops of hundreds of
    operations are not vectorised. XLA takes optimization barriers out before it fuses, but it does not fuse
    into a branch, even one that is always taken.
    """
    if jax.default_backend() != "cpu":
        return function(values)
    first = jax.tree.leaves(values)[0].ravel()[0]
    always = (first == first) | (first != first)
    shapes = jax.eval_shape(function, values)
    never = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    return jax.lax.cond(always, function, lambda _: never, values)


@jax.custom_vjp
def gradient_apart(values: Values) -> Values:
    """The same values; their gradient is computed `apart`."""
    return values


gradient_apart.defvjp(lambda values: (values, None), lambda _, gradients: (apart(lambda g: g, gradients),))
