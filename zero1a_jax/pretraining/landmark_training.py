"""Training the embedded landmark net on random synthetic people."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import load_file, save_file

from zero1a_jax import files
from zero1a_jax.preprocess import landmark_net
from zero1a_jax.preprocess.landmark_net import CROP, IRISES
from zero1a_jax.pretraining.landmark_crops import Crops, make_crops
from zero1a_jax.pretraining.landmark_renders import Truth, render_set
from zero1a_jax.pretraining.options import LandmarkNet
from zero1a_jax.types import Array

SHARD = 500  # renders a file
POOL, FRESH = 2048, 4  # crops kept; steps between renewing a batch of them, since crops cost more than steps
WING, CURVE = 8.0, 2.0  # pixels: the wing loss's range and curvature (Feng et al. 2018)


def loss_of(params: Any, crops: Crops) -> tuple[Array, dict[str, Array]]:
    """Wing loss of points, L1 of rotation, cross-entropy of the face's presence."""
    out = landmark_net.decode(landmark_net.raw(params, crops.rgb))
    away = jnp.abs(out.points - crops.points)
    offset = WING - WING * jnp.log(1.0 + WING / CURVE)
    wing = jnp.where(away < WING, WING * jnp.log(1.0 + away / CURVE), away - offset)
    weight = crops.face / jnp.maximum(jnp.sum(crops.face), 1.0)
    points = jnp.sum(wing.mean((1, 2)) * weight)
    turn = jnp.sum(jnp.abs(out.rotation - crops.rotation).mean((1, 2)) * weight)
    face = jnp.mean(optax.sigmoid_binary_cross_entropy(out.confidence, crops.face))
    loss = points + 20.0 * turn + 2.0 * face
    distance = jnp.sqrt(jnp.sum((out.points - crops.points) ** 2, -1))[:, : -len(IRISES)].mean(-1)
    right = jnp.mean((out.confidence > 0) == (crops.face > 0.5))
    return loss, {"loss": loss, "pixels": jnp.sum(distance * weight), "turn": turn, "right": right}


def make_step(optimizer: optax.GradientTransformation) -> Any:
    """A jitted function of weights, optimiser state, averaged weights and Crops that takes one step."""

    @jax.jit
    def step(params: Any, state: Any, average: Any, crops: Crops) -> tuple:
        crops = crops._replace(rgb=crops.rgb.astype(jnp.float32) / 255.0)
        grads, metrics = jax.grad(loss_of, has_aux=True)(params, crops)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda a, p: 0.995 * a + 0.005 * p, average, params)
        return params, state, average, metrics

    return step


class Pool:
    """Crops on the host, renewed batch by batch; the i-th batch depends on the seed and i alone."""

    def __init__(self, truth: Truth, seed: int, batch: int, first: int):
        self.truth, self.seed, self.batch = truth, seed, batch
        self.slots = max(1, POOL // batch)
        parts = [self._make(i) for i in range(first, first + self.slots)]
        self.made = first + self.slots
        self.crops = Crops(*(np.concatenate(field) for field in zip(*parts, strict=True)))

    def _make(self, i: int) -> Crops:
        rows = np.random.default_rng((self.seed, i)).choice(len(self.truth.points), self.batch)
        key = jax.random.fold_in(jax.random.key(self.seed + 1000), i)
        crops = make_crops(key, Truth(*(field[rows] for field in self.truth)))
        return Crops(np.asarray(jnp.round(crops.rgb * 255), np.uint8), *(np.asarray(x) for x in crops[1:]))

    def draw(self, step: int) -> Crops:
        """A batch for `step`, which may first renew a part of the pool."""
        if step % FRESH == 0:
            at = self.made % self.slots * self.batch
            for old, new in zip(self.crops, self._make(self.made), strict=True):
                old[at : at + self.batch] = new
            self.made += 1
        rows = np.random.default_rng((self.seed, 1, step)).choice(len(self.crops.face), self.batch)
        return Crops(*(field[rows] for field in self.crops))


def renders(folder: Path, name: str, seed: int, count: int) -> Truth:
    """Renders by seed, from the folder where they are already there."""
    parts = []
    for first in range(0, count, SHARD):
        path = folder / f"{name}_{seed}_{first:06d}.npz"
        if not path.is_file():
            some = render_set(seed, first, min(SHARD, count - first))
            with files.replacing(path) as unfinished:
                np.savez(unfinished, **some._asdict())
            print(f"rendered {name} {first + len(some.points)} of {count}", flush=True)
        with np.load(path) as stored:
            parts.append(Truth(*(stored[field] for field in Truth._fields)))
    return Truth(*(np.concatenate(field)[:count] for field in zip(*parts, strict=True)))


def evaluate(params: Any, truth: Truth, seed: int) -> dict[str, float]:
    """Metrics on one fixed augmented crop of each held-out render."""
    measure = jax.jit(lambda crops: loss_of(params, crops)[1])
    size = min(32, len(truth.points))
    parts = []
    for i, first in enumerate(range(0, len(truth.points) - size + 1, size)):
        some = jax.tree.map(lambda x, first=first: x[first : first + size], truth)
        parts.append(measure(make_crops(jax.random.fold_in(jax.random.key(seed), i), some)))
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def train(options: LandmarkNet, folder: Path, truth: Truth, heldout: Truth) -> Any:
    """The averaged weights after all steps."""
    total = options.steps
    schedule = optax.warmup_cosine_decay_schedule(0.0, options.rate, 200, total, 0.01 * options.rate)
    optimizer = optax.chain(optax.clip_by_global_norm(20.0), optax.adamw(schedule, weight_decay=1e-3))
    step_fn = make_step(optimizer)
    start = landmark_net.LandmarkNet().init(jax.random.key(options.seed), jnp.zeros((1, CROP, CROP, 3)))[
        "params"
    ]
    if options.start:
        start = landmark_net.unflatten(load_file(options.start))
    carry = (start, optimizer.init(start), start)
    first, carry = _restore(folder / "checkpoint.npz", carry)
    pool = Pool(truth, options.seed, options.batch, first // FRESH)
    began = time.time()
    for i in range(first, total):
        *carry, metrics = step_fn(*carry, pool.draw(i))
        if i % 100 == 0:
            shown = ", ".join(f"{k} {float(v):.3f}" for k, v in metrics.items())
            print(f"step {i} of {total}, {time.time() - began:.0f} s: {shown}", flush=True)
        if (i + 1) % 500 == 0 or i + 1 == total:
            _save(folder / "checkpoint.npz", i + 1, carry)
            shown = ", ".join(f"{k} {v:.3f}" for k, v in evaluate(carry[2], heldout, 7).items())
            print(f"held out after {i + 1}: {shown}", flush=True)
            save_file(landmark_net.flatten(carry[2]), str(folder / "landmark_net.safetensors"))
    return carry[2]


def _save(path: Path, step: int, carry: Any) -> None:
    leaves = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(carry))}
    with files.replacing(path) as unfinished:
        np.savez(unfinished, step=step, **leaves)  # pyright: ignore[reportArgumentType]


def _restore(path: Path, carry: Any) -> tuple[int, Any]:
    if not path.is_file():
        return 0, carry
    with np.load(path) as stored:
        leaves, structure = jax.tree.flatten(carry)
        loaded = [jnp.asarray(stored[f"leaf{i}"]) for i in range(len(leaves))]
        return int(stored["step"]), jax.tree.unflatten(structure, loaded)


def run(options: LandmarkNet) -> None:
    """Renders what is missing, trains on from the last checkpoint, writes the weights."""
    folder = Path(options.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    truth = renders(folder, "train", options.seed, options.renders)
    heldout = renders(folder, "heldout", options.seed + 1, options.heldout)
    arrays = landmark_net.flatten(train(options, folder, truth, heldout))
    save_file(arrays, str(folder / "landmark_net.safetensors"))
    print(f"{sum(a.size for a in arrays.values())} parameters in {folder}/landmark_net.safetensors")
    if options.ship:
        save_file(arrays, str(landmark_net.ASSET))
