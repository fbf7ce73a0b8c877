"""A training loop that resumes: batches by step, AdamW with a decay over the end, averaged weights."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization

from zero1a_jax import files


class Training(NamedTuple):
    """What a checkpoint holds."""

    step: int
    params: Any
    optimizer: Any
    average: Any  # exponential moving average of params: what is exported


def optimizer(weight_decay: float = 1e-3) -> optax.GradientTransformation:
    """AdamW (b2 0.99) after clipping to norm 1; the learning rate is multiplied in by `run`."""
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.99), optax.add_decayed_weights(weight_decay)
    )


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Warm-up over 100 steps, constant, linear to 2 % over the last 40 %."""
    return peak * min(1.0, (step + 1) / 100) * min(1.0, max(0.02, (1 - step / steps) / 0.4))


def load_average(file: pathlib.Path, like: Any) -> Any | None:
    """The averaged parameters of a checkpoint, shaped like `like`; None where there is no file."""
    if not file.exists():
        return None
    stored: Any = serialization.msgpack_restore(file.read_bytes())
    return serialization.from_state_dict(like, stored["average"])


def run(
    name: str,
    folder: pathlib.Path,
    params: Any,
    loss: Callable,
    batch: Callable[[int], Any],
    *,
    steps: int,
    peak: float,
    seed: int,
    decay: float = 0.998,
    log_every: int = 50,
    save_every: int = 500,
    minutes: float | None = None,
    on_save: Callable[[Training], None] | None = None,
) -> Training:
    """Trains to `steps`, from the last checkpoint of this name if there is one.

    loss(params, batch, key) -> (scalar, dict of scalars); batch(step) gives host arrays and depends on the
    step only, so that an interrupted run repeats what it would have done. With `minutes`, `steps` is instead
    set from the speed of the first steps so that the learning rate has decayed when the time is up.
    """
    transform = optimizer()
    file = folder / f"{name}.ckpt"
    state = Training(0, params, transform.init(params), params)
    if file.exists():
        state = Training(*serialization.from_bytes(state, file.read_bytes()))  # pyright: ignore

    @jax.jit
    def update(params, moments, average, data, key, rate, keep):
        (value, extra), gradient = jax.value_and_grad(loss, has_aux=True)(params, data, key)
        change, moments = transform.update(gradient, moments, params)
        params = jax.tree.map(lambda p, c: p - rate * c, params, change)
        average = jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, average, params)
        return params, moments, average, {"loss": value, **extra}

    log, start, sums = folder / f"{name}.jsonl", time.time(), []
    first, begun = state.step, None
    while state.step < steps:
        step = state.step
        rate = learning_rate(step, steps, peak)
        keep = min(decay, 1 - (step + 1) ** -0.8) if step else 0.0
        key = jax.random.fold_in(jax.random.key(seed), step)
        params, moments, average, metrics = update(
            state.params,
            state.optimizer,
            state.average,
            batch(step),
            key,
            jnp.float32(rate),
            jnp.float32(keep),
        )
        sums.append(jax.device_get(metrics))
        state = Training(step + 1, params, moments, average)
        if begun is None:
            begun = time.time()
        elif minutes is not None and (step - first) % 20 == 0:
            pace = (time.time() - begun) / (step - first)
            steps = max(step + 2, step + int((minutes * 60 - (time.time() - start)) / pace))
        if (step + 1) % log_every == 0 or step + 1 == steps:
            means = {k: round(float(np.mean([s[k] for s in sums])), 5) for k in sums[0]}
            line = {
                "step": step + 1,
                "of": steps,
                "seconds": round(time.time() - start, 1),
                "rate": rate,
                **means,
            }
            with open(log, "a") as stream:
                stream.write(json.dumps(line) + "\n")
            print(name, line, flush=True)
            sums = []
        if (step + 1) % save_every == 0 or step + 1 == steps:
            files.write_bytes(file, serialization.to_bytes(state))
            if on_save:
                on_save(state)
    return state
