"""The avatar's optimiser: Adam's direction, and a learning rate for each field of the Gaussians."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax

from zero1a_jax.config import Update
from zero1a_jax.types import Array, Gaussians


def optimizer() -> optax.GradientTransformation:
    """Adam's direction with GaussianAvatars' epsilon; learning rates come per field, see `update`."""
    return optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-15)


def as_tree(gaussians: Gaussians) -> Any:
    """Any pytree serves optax; its types name arrays and plain containers alone."""
    return gaussians


def learning_rates(step: Array, config: Update, coefficients: int) -> Gaussians:
    """Learning rate of every field, as a Gaussians that broadcasts; positions decay log-linearly.

    SH coefficients above degree 0 (of K = `coefficients`) get a twentieth, as 3D Gaussian splatting.
    """
    along = jnp.clip(jnp.asarray(step, jnp.float32) / max(config.steps, 1), 0.0, 1.0)
    start, end = jnp.log(config.position_lr), jnp.log(config.position_lr_end)
    bands = jnp.where(jnp.arange(coefficients) == 0, 1.0, 1 / 20)[:, None]
    return Gaussians(
        means=jnp.exp(start + (end - start) * along),
        log_scales=jnp.float32(config.scale_lr),
        quats=jnp.float32(config.rotation_lr),
        sh=config.colour_lr * bands,
        opacity_logits=jnp.float32(config.opacity_lr),
    )
