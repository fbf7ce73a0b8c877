"""Damped least squares (Levenberg 1944, Marquardt 1963) in one scan: a fixed number of steps, no host."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

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
    basis, count = jnp.eye(len(start)), len(start)

    def step(carry: tuple[Array, ...], row: tuple[Array, Array]) -> tuple[tuple[Array, ...], None]:
        best, cost, gradient, normal, amount, guess = carry
        open_, anew = row
        # One trace gives residuals and Jacobian: compiling is most of the time. A guess is judged in the
        # step after the one that made it.
        now, push = jax.linearize(residuals, guess)
        new_cost = jnp.sum(now**2)
        better = (new_cost < cost) & jnp.all(jnp.isfinite(guess))
        jacobian = jax.vmap(push, out_axes=-1)(basis)
        new_gradient = jnp.matmul(now, jacobian, precision="highest")
        new_normal = jnp.matmul(jacobian.T, jacobian, precision="highest")
        best, cost = jnp.where(better, guess, best), jnp.where(better, new_cost, cost)
        gradient, normal = jnp.where(better, new_gradient, gradient), jnp.where(better, new_normal, normal)
        amount = jnp.clip(jnp.where(better, amount / 4.0, amount * 6.0), 1e-6, 1e6)
        amount = jnp.where(anew, damping, amount)
        closed = normal * open_ * open_[:, None]
        closed = closed + jnp.diag(amount * jnp.diag(closed) + 1e-6 + (1.0 - open_))
        guess = best - jnp.linalg.solve(closed, gradient * open_) * open_
        return (best, cost, gradient, normal, amount, guess), None

    first = (start, jnp.float32(jnp.inf), jnp.zeros(count), jnp.zeros((count, count)))
    free = jnp.concatenate([free, free[-1:]])  # the last guess is judged too
    changed = jnp.any(free != jnp.concatenate([free[:1], free[:-1]]), -1).at[0].set(True)
    (best, *_), _ = jax.lax.scan(step, (*first, jnp.float32(damping), start), (free, changed))
    return best
