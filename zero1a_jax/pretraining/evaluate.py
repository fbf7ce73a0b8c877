"""What the miniature can do on people it has not seen: novel views from noise, refinement, inversion.

All PSNRs are in dB over the head (weighted by the truth's alpha), medians over people. One target a person,
the first within 45 degrees of yaw.
"""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import flame
from zero1a_jax.diffusion import DiffusionConfig, build, schedule
from zero1a_jax.image import metrics
from zero1a_jax.image.ops import psnr
from zero1a_jax.outputs.report import save_png
from zero1a_jax.pretraining import data, degrade
from zero1a_jax.provenance import Provenance

SEED = 1  # of the held-out people
REFINEMENTS = (  # strength, steps, guidance of the inversion, guidance of the denoising
    (0.4, 2, 0.0, 2.0),  # quickstart.flags
    (0.4, 4, 1.0, 2.0),
    (0.6, 4, 0.0, 2.0),
    (0.6, 6, 1.0, 2.0),
)


@functools.partial(jax.jit, static_argnums=(1, 2))
def yaws(seed: jax.Array, people: int, frames: int) -> jax.Array:
    """The cameras' yaw in radians of every target of the cache [people, frames - 1]."""
    model = jax.tree.map(jnp.asarray, flame.procedural_head())
    size = model.shape_basis.shape[-1]

    def one(index: jax.Array) -> jax.Array:
        rest = jax.random.split(jax.random.fold_in(jax.random.key(seed), index), 3)[2]

        def yaw(key: jax.Array) -> jax.Array:
            matrix = data.target_view(key, model, jnp.zeros(size), 8)[1].world_to_camera
            position = -matrix[:3, :3].T @ matrix[:3, 3]
            target = flame.frame_target(model, jnp.zeros(size))
            return jnp.arctan2(position[0] - target[0], position[2] - target[2])

        return jax.vmap(yaw)(jax.random.split(rest, frames - 1))

    return jax.vmap(one)(jnp.arange(people))


def evaluate(config: DiffusionConfig, params: Any, cache: data.Cache) -> dict:
    """All figures as a dictionary; "pictures" holds the images [people, K, H, W, 3] behind them."""
    people, frames = cache.rgb.shape[:2]
    angle = np.degrees(np.abs(np.asarray(yaws(jnp.uint32(SEED), people, frames))))
    pick = 1 + np.argmax(angle <= 45, axis=1)
    pick = np.where(angle.min(1) <= 45, pick, 1 + angle.argmin(1))
    rows = np.arange(people)
    truth, mask = _float(cache.rgb[rows, pick]), _float(cache.alpha[rows, pick])
    portrait, own = _float(cache.rgb[:, 0]), _float(cache.condition[:, 0])
    condition = _float(cache.condition[rows, pick])

    run = _Runner(config, params)
    given = run.reference(portrait, own)
    latents = run.encode(truth)
    score = lambda image: np.asarray(psnr(jnp.asarray(image), truth, mask))  # noqa: E731

    noise = jax.random.normal(jax.random.key(3), latents.shape)
    base, best = score(portrait), score(run.decode(latents))
    report: dict = {
        "people": people,
        "portrait": _median(base),
        "round_trip": _median(best),
        "from_noise": {},
    }
    pictures = [portrait, condition, truth, run.decode(latents)]
    for steps, guidance in ((1, 1.0), (2, 1.0), (4, 1.0), (10, 1.0), (10, 2.0), (25, 1.0)):
        made = run.decode(run.denoise(noise, given, condition, steps=steps, guidance=guidance))
        gained = score(made)
        fraction = _median((gained - base) / (best - base))
        report["from_noise"][f"{steps} steps, guidance {guidance}"] = {
            "psnr": _median(gained),
            "fraction": fraction,
            **_fine(made, truth, mask),
        }
        if (steps, guidance) in ((1, 1.0), (10, 1.0)):
            pictures.append(made)
    wrong = jax.tree.map(lambda x: jnp.roll(x, 1, 0), given)
    shuffled = {
        "portraits": run.denoise(noise, wrong, condition, steps=10, guidance=1.0),
        "conditions": run.denoise(noise, given, jnp.roll(condition, 1, 0), steps=10, guidance=1.0),
    }
    report["shuffled"] = {name: _median(score(run.decode(x))) for name, x in shuffled.items()}
    drafts = _float(cache.draft[rows, pick])
    report["refinement"], more = refinement(run, given, condition, truth, mask, drafts)
    report["inversion"] = inversion(run, given, condition, latents)
    report["pictures"] = np.stack([np.asarray(p) for p in pictures + more], 1)
    return report


def refinement(
    run: _Runner, given: Any, condition: jax.Array, truth: jax.Array, mask: jax.Array, drafts: jax.Array
) -> tuple[dict, list]:
    """Degraded truths, and drafts, before and after each of REFINEMENTS: ({kind: {...}}, pictures)."""
    out, pictures = {}, []
    keys = jax.random.split(jax.random.key(5), len(truth))
    spoilt_by = {"draft": drafts}
    for index, kind in enumerate(degrade.KINDS):
        spoil = functools.partial(degrade.degrade, kind=index)
        spoilt_by[kind] = jax.vmap(spoil)(keys, truth, mask)
    for kind, spoilt in spoilt_by.items():
        start = run.encode(spoilt)
        before = np.asarray(psnr(spoilt, truth, mask))
        out[kind] = {
            "before": _median(before),
            **_fine(spoilt, truth, mask),
            "round_trip": _median(np.asarray(psnr(run.decode(start), truth, mask))),
        }
        for strength, steps, inverse, guidance in REFINEMENTS:
            noisy = run.invert(
                start, given, condition, steps=steps, strength=strength, guidance=inverse, iterations=1
            )
            clean = run.denoise(noisy, given, condition, steps=steps, strength=strength, guidance=guidance)
            refined = run.decode(clean)
            after = np.asarray(psnr(refined, truth, mask))
            fine = _fine(refined, truth, mask)
            name = f"strength {strength}, {steps} steps, inversion guidance {inverse}, guidance {guidance}"
            out[kind][name] = {"after": _median(after), "rise": _median(after - before), **fine}
            if (strength, steps, inverse, guidance) == REFINEMENTS[0]:
                pictures += [spoilt, refined]
    return out, pictures


def inversion(
    run: _Runner,
    given: Any,
    condition: jax.Array,
    latents: jax.Array,
    *,
    people: int = 8,
    iterations: tuple[int, ...] = (1, 2, 3, 5),
) -> dict:
    """What inverting and denoising again costs, 25 steps, guidance 1, by fixed-point iterations.

    "relative_error" of the latents, "psnr" in dB of the whole decoded frame against the decoding of the
    latents at the start; medians.
    """
    given, condition, latents = jax.tree.map(lambda x: x[:people], (given, condition, latents))
    start, size = run.decode(latents), jnp.sqrt(jnp.sum(latents**2, (1, 2, 3)))
    out = {}
    for count in iterations:
        noisy = run.invert(latents, given, condition, steps=25, iterations=count, guidance=1.0)
        back = run.denoise(noisy, given, condition, steps=25, guidance=1.0)
        error = jnp.sqrt(jnp.sum((back - latents) ** 2, (1, 2, 3))) / size
        kept = psnr(run.decode(back), start)
        out[str(count)] = {"relative_error": _median(error), "psnr": _median(kept)}
    return out


class _Runner:
    """The model's functions over a batch of people, one frame each.

    The loops over steps are plain Python around one compiled evaluation, so that many settings share it; the
    library's own loops compute the same.
    """

    def __init__(self, config: DiffusionConfig, params: Any):
        model = build(config)
        self._params, self._bars = params, model.bars
        self._reference = jax.jit(jax.vmap(model.reference, (None, 0, 0)))
        self._encode, self._decode = jax.jit(model.encode), jax.jit(model.decode)

        @functools.partial(jax.jit, static_argnames="guided")
        def velocity(params, latents, given, condition, timestep, guidance, guided):
            def one(x, g, c):
                scale = guidance if guided is None else guided
                return model.velocity(params, x[None], timestep, g, c[None], guidance=scale)[0]

            return jax.vmap(one)(latents, given, condition)

        self._velocity = velocity

    def reference(self, portrait, condition):
        return self._reference(self._params, portrait, condition)

    def encode(self, frames):
        return self._encode(self._params, frames)

    def decode(self, latents):
        return self._decode(self._params, latents)

    def _at(self, given, condition, timestep, guidance):
        guided = guidance if guidance in (0.0, 1.0) else None
        return lambda x: self._velocity(
            self._params, x, given, condition, jnp.int32(timestep), jnp.float32(guidance), guided
        )

    def invert(self, latents, given, condition, *, steps, strength=1.0, iterations, guidance):
        tables = schedule.sampler_steps(self._bars, steps, strength)
        for t, cos, sin in reversed(list(zip(*tables, strict=True))):
            velocity = self._at(given, condition, t, guidance)
            latents = schedule.invert_step(velocity, latents, np.float32(cos), np.float32(sin), iterations)
        return latents

    def denoise(self, latents, given, condition, *, steps, strength=1.0, guidance):
        for t, cos, sin in zip(*schedule.sampler_steps(self._bars, steps, strength), strict=True):
            velocity = self._at(given, condition, t, guidance)(latents)
            latents = schedule.step(latents, velocity, np.float32(cos), np.float32(sin))
        return latents


def picture(
    pictures: np.ndarray, file: pathlib.Path, people: int = 12, *, provenance: Provenance | None = None
) -> None:
    """A person a row: portrait, condition, truth, round trip, 1 and 10 steps, then degraded and refined."""
    rows = [np.concatenate(list(row), 1) for row in pictures[:people]]
    save_png(file, np.concatenate(rows), provenance=provenance)


def _fine(made: jax.Array, truth: jax.Array, mask: jax.Array) -> dict[str, float]:
    """Sharpness on the head over the truth's, and grain on the background; medians."""
    rows = list(zip(*(np.asarray(x) for x in (made, truth, mask)), strict=True))
    return {
        "sharpness": _median([metrics.sharpness(image, true, head > 0.5) for image, true, head in rows]),
        "grain": _median([metrics.grain(image, head == 0) for image, _, head in rows]),
    }


def _float(image: np.ndarray) -> jax.Array:
    return jnp.asarray(image, jnp.float32) / 255


def _median(values: Any) -> float:
    return round(float(np.median(values)), 4)
