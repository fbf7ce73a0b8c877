"""--dry_run: what a run would do, in numbers, without writing anything."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from experiments import checks, parallel
from experiments.config import Config
from zero1a_jax import diffusion
from zero1a_jax.types import FlameModel

# Milliseconds on one core of an AVX-512 Xeon at 128 x 128: a frame through the denoiser, a pair of a step.
UNET_FRAME_MS = 15.0
STEP_PAIR_MS = 25.0


def describe(config: Config, model: FlameModel, devices: Sequence[parallel.Device]) -> str:
    """Shapes, parameter counts, memory and a time estimate, as text."""
    sizes, params = diffusion.load_miniature()
    curriculum, generation, optimisation = config.curriculum, config.generation, config.optimisation
    frames, side = curriculum.frames, config.input.size
    samples = curriculum.spatial_samples + curriculum.synthetic_samples + curriculum.real_samples
    gaussians = int(np.ceil(optimisation.capacity * len(model.faces)))
    updates = (optimisation.steps - 1) // generation.update_every if generation.dataset == "iterative" else 0
    refreshed = updates * generation.samples_per_update
    filled = samples if generation.dataset == "once" else curriculum.spatial_samples
    filled = 0 if generation.dataset == "none" else filled
    evaluations = filled * fill_cost(config) + refreshed * refresh_cost(config)
    seconds = 1e-3 * (
        evaluations * frames * UNET_FRAME_MS + optimisation.steps * optimisation.batch * STEP_PAIR_MS
    )
    weights = sum(int(np.prod(np.shape(leaf))) for leaf in jax.tree.leaves(params))
    lines = [
        f"devices:     {len(devices)} x {devices[0].device_kind}",
        f"head:        {len(model.template)} vertices, {len(model.faces)} triangles, {model.version}",
        f"avatar:      {gaussians} Gaussians at most, SH degree {optimisation.sh_degree}",
        f"diffusion:   {weights / 1e6:.2f} M parameters, frames {sizes.frame_size}, latents "
        f"{sizes.latent_size} x {sizes.latent_size} x {sizes.latent_channels}, condition {sizes.condition}",
        f"dataset:     uint8 [{samples + 1}, {frames}, {side}, {side}, 3] and its alpha, "
        f"{(samples + 1) * frames * side * side * 4 / 2**20:.0f} MiB",
        f"schedule:    {optimisation.steps} steps of {optimisation.batch} frames; {filled} samples filled, "
        f"{refreshed} refreshed",
        f"diffusion evaluations: {evaluations * frames} frames",
        f"checkpoint:  {checks.checkpoint_bytes(config, gaussians) >> 20} MiB, {config.runner.keep} kept",
        f"time:        about {seconds / 60:.0f} minutes on one CPU core, plus 2 to 3 to compile",
    ]
    return "\n".join(lines)


def fill_cost(config: Config) -> int:
    """Evaluations of the denoiser a frame, to make a sample from noise."""
    generation = config.generation
    return generation.denoise_steps * (1 if generation.guidance in (0, 1) else 2)


def refresh_cost(config: Config) -> int:
    """Evaluations of the denoiser a frame, to refresh a sample."""
    generation = config.generation
    if not generation.inversion:
        return fill_cost(config)
    branches = 1 if generation.inversion_guidance in (0, 1) else 2
    return fill_cost(config) + branches * generation.inversion_steps * generation.inversion_iterations
