"""The diffusion alone (--method=diffusion_only): its frames of the poses that avatars are judged on.

There is no avatar. Each held-out pair of view and expression is generated from noise as a clip that stands
still, as long as a sample, whose middle frame is kept in RUN/held_out; `evaluate` compares them with the
truth.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import files, keys
from zero1a_jax.devices import exchanged, rounds
from zero1a_jax.flame import frame_target
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.measuring import heldout
from zero1a_jax.outputs import report
from zero1a_jax.training import processes
from zero1a_jax.training.programs import Programs
from zero1a_jax.training.setup import Setup


def frames(setup: Setup, programs: Programs) -> np.ndarray:
    """The held-out pairs as the diffusion makes them of the portrait, uint8 [K, H, W, 3].

    They stand in the canonical frame of the portrait's identity, as `measuring.evaluation` renders avatars.
    Raises Refused where the head lacks ARKit's names.
    """
    model, portrait, seed = setup.parts.model, setup.parts.portrait, setup.config.runner.seed
    length, size = setup.config.curriculum.frames, portrait.rgb.shape[0]
    pairs = heldout.pairs(model)
    shape = jnp.broadcast_to(jnp.asarray(portrait.flame.shape), pairs.flame.shape.shape)
    flame = dataclasses.replace(pairs.flame, shape=shape)
    target = frame_target(model, portrait.flame.shape)
    camera = portrait_camera(target, np.radians(pairs.yaw), np.radians(pairs.pitch), size)
    still = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[:, None], length, 1), (camera, flame))
    count, made = len(pairs.yaw), []
    for camera, flame, numbers in rounds((*still, np.arange(count)), count, setup.devices):
        points = programs.points(setup.model, flame, camera)
        conditions = programs.conditions(setup.model, flame, camera, points)
        rgb = np.zeros((len(numbers), length, size, size, 3), np.float32)  # nothing is inverted
        noise = keys.many(seed, "noise", 0, numbers)
        clips, *_ = programs.fill(
            setup.diffusion_params, setup.reference, rgb, rgb[..., 0], conditions, noise
        )
        made += list(exchanged(np.asarray(clips)[:, length // 2], setup.devices))
    return as_uint8(np.stack(made[:count]))


def write(setup: Setup, programs: Programs, folder: Path, seconds: dict[str, float]) -> dict[str, object]:
    """Makes the frames and writes them, a contact sheet of them and metrics.json, which marks the end."""
    made = frames(setup, programs)
    metrics = {"steps": 0, "seconds": {name: round(value, 1) for name, value in seconds.items()}}
    if processes.leads():
        for k, image in enumerate(made):
            report.save_png(folder / heldout.FOLDER / heldout.name(k), image, provenance=setup.provenance)
        sheet = report.contact_sheet(list(made), 6)
        report.save_png(folder / "renders" / "contact_sheet.png", sheet, provenance=setup.provenance)
        files.write_json(folder / "metrics.json", metrics)
    return metrics
