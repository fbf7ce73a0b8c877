"""Damped least squares (Levenberg 1944, Marquardt 1963) in one scan: a fixed number of steps, no host."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from zero1a_jax.types import Array

FIRST_DAMPING = 1e-2


def minimise(
    residuals: Callable[[Array], Array], start: Array, free: Array, *, damping: float = FIRST_DAMPING
) -> Array:
    """The vector [P] after len(free) steps that make sum(residuals(vector)^2) smaller, or leave it.

    Args:
      residuals: [P] to [R], differentiable.
      start: [P].
      free: [steps, P], 1 for what a step may move, 0 for what it holds. Damping starts anew where it changes.

    A step that would raise the sum, or is not finite, is not taken and raises the damping.
    """
    changed = jnp.any(free != jnp.concatenate([free[:1], free[:-1]]), -1)

    def step(
        carry: tuple[Array, Array, Array], row: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array, Array], None]:
        values, amount, cost = carry
        open_, anew = row
        amount = jnp.where(anew, damping, amount)
        jacobian = jax.jacfwd(residuals)(values) * open_
        gradient = jnp.matmul(residuals(values), jacobian, precision="highest")
        normal = jnp.matmul(jacobian.T, jacobian, precision="highest")
        normal = normal + jnp.diag(amount * jnp.diag(normal) + 1e-6 + (1.0 - open_))
        moved = values - jnp.linalg.solve(normal, gradient) * open_
        new_cost = jnp.sum(residuals(moved) ** 2)
        better = (new_cost < cost) & jnp.all(jnp.isfinite(moved))
        amount = jnp.clip(jnp.where(better, amount / 4.0, amount * 6.0), 1e-6, 1e6)
        return (jnp.where(better, moved, values), amount, jnp.where(better, new_cost, cost)), None

    carry = (start, jnp.float32(damping), jnp.sum(residuals(start) ** 2))
    (vector, _, _), _ = jax.lax.scan(step, carry, (free, changed))
    return vector
