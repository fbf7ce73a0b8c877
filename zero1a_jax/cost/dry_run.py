"""--dry_run: what a run would do, in numbers, without writing anything or allocating a model."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from zero1a_jax import diffusion
from zero1a_jax.config import Config
from zero1a_jax.cost import datasheets, predictions
from zero1a_jax.cost.checkpoint_size import checkpoint_bytes
from zero1a_jax.devices import Device
from zero1a_jax.sources import diffusions
from zero1a_jax.types import FlameModel

# Milliseconds of a pair of an avatar step of the quickstart on one core of an AVX-512 Xeon: 22 at 128 x 128,
# 55 at 256 x 256. So much whatever the size, and so much for each 128 x 128 pixels:
STEP_PAIR_MS, STEP_PIXELS_MS = 11.0, 11.0


@dataclasses.dataclass(frozen=True)
class Work:
    """How often a run calls its programs, all devices together at a time."""

    filled: int  # samples made from noise
    refreshed: int  # samples refreshed
    fills: int  # calls, each of as many samples as there are devices
    refreshes: int


def work_of(config: Config, devices: int) -> Work:
    """Counts the samples of a run."""
    curriculum, refresh = config.curriculum, config.refresh
    temporal = curriculum.synthetic_samples + curriculum.real_samples
    filled = {
        "symgen": curriculum.spatial_samples,
        "one_time": curriculum.spatial_samples + temporal,
    }
    updates = (config.update.steps - 1) // refresh.update_every
    updates = updates if refresh.method == "symgen" else 0
    count, each = filled.get(refresh.method, 0), refresh.samples_per_update
    return Work(count, updates * each, -(-count // devices), updates * -(-each // devices))


def sizes_of(config: Config, platform: str) -> diffusion.DiffusionConfig:
    """The diffusion that is counted. Raises ValueError where the frames do not have its size."""
    if config.runner.dry_diffusion == "aniportrait":
        sizes, miniature = diffusion.DiffusionConfig(frame_size=config.input.size), False
    else:
        sizes = diffusions.sizes(config.input.diffusion, config.input.size)
        miniature = not config.input.diffusion
    dtype = diffusions.dtype_of(config.refresh.dtype, platform=platform, miniature=miniature)
    return dataclasses.replace(sizes, dtype=dtype)


def describe(config: Config, model: FlameModel, devices: Sequence[Device]) -> str:
    """Shapes, parameter counts, operations, memory and a time estimate, as text.

    Raises ValueError where sizes do not fit.
    """
    asked = config.runner.dry_device
    sizes = sizes_of(config, asked or devices[0].platform)
    curriculum, update, side = config.curriculum, config.update, config.input.size
    samples = curriculum.spatial_samples + curriculum.synthetic_samples + curriculum.real_samples
    gaussians = int(np.ceil(update.capacity * len(model.faces)))
    work, frames = work_of(config, len(devices)), curriculum.frames
    cost = predictions.predict(sizes, config.refresh, frames)
    latents = f"{sizes.latent_size} x {sizes.latent_size} x {sizes.latent_channels}"
    lines = [
        f"devices:     {len(devices)} x {asked or devices[0].device_kind}",
        f"head:        {len(model.template)} vertices, {len(model.faces)} triangles, {model.version}",
        f"avatar:      {gaussians} Gaussians at most, SH degree {update.sh_degree}",
        f"diffusion:   {cost.parameters / 1e6:.2f} M parameters, UNets in {sizes.dtype}, frames {side}, "
        f"latents {latents}, condition {sizes.condition}",
        f"dataset:     uint8 [{samples + 1}, {frames}, {side}, {side}, 3] and its alpha, "
        f"{(samples + 1) * frames * side * side * 4 / 2**20:.0f} MiB",
        f"schedule:    {update.steps} steps of {update.batch} frames; {work.filled} samples of "
        f"{frames} frames filled, {work.refreshed} refreshed",
        f"checkpoint:  {checkpoint_bytes(config, gaussians) >> 20} MiB, {config.runner.keep} kept",
        *costs(config, cost, work, len(devices)),
    ]
    return "\n".join(lines)


def costs(config: Config, cost: predictions.Prediction, work: Work, devices: int) -> list[str]:
    """The lines on operations, memory and time."""
    asked = config.runner.dry_device
    speed = datasheets.TABLE[asked] if asked else predictions.measured()
    source = "data sheet" if asked else "measured now"
    seconds = {name: getattr(cost, name).seconds(speed) for name in ("reference", "fill", "refresh")}
    room = f" of {speed.memory / 1e9:.0f}" if speed.memory else ""
    short = ", TOO MUCH" if speed.memory and cost.memory > speed.memory else ""
    peak = cost.memory - cost.weights - cost.arguments
    update = seconds["refresh"] * -(-config.refresh.samples_per_update // devices)
    total = seconds["reference"] + work.fills * seconds["fill"] + work.refreshes * seconds["refresh"]
    lines = [
        f"operations:  portrait {operations(cost.reference.flops)}",
        f"             a sample from noise {operations(cost.fill.flops)}",
        f"             a sample refreshed {operations(cost.refresh.flops)}",
        f"memory:      {cost.memory / 1e9:.2f}{room} GB a device{short}: weights {cost.weights / 1e9:.2f}, "
        f"frames, condition images and features {cost.arguments / 1e9:.2f}, intermediates {peak / 1e9:.2f}",
        "             (the largest set that lives together; the compiler's copies and workspace and the "
        "avatar's training come on top)",
        f"speed:       {speed.half / 1e12:.3g} TFLOP/s in half precision, {speed.single / 1e12:.3g} in "
        f"float32 ({source}); {100 * datasheets.FRACTION:.0f} % of it is assumed",
        f"update:      {span(update)}, {config.refresh.samples_per_update} sample(s)",
    ]
    if asked:
        return [*lines, f"time:        {span(total)} for the diffusion; the avatar's steps are not counted"]
    pair = STEP_PAIR_MS + STEP_PIXELS_MS * (config.input.size / 128) ** 2
    avatar = 1e-3 * pair * config.update.steps * config.update.batch
    return [
        *lines,
        f"time:        {span(total + avatar)}: {span(total)} for the diffusion, {span(avatar)} for the "
        "avatar on one CPU core; compilation comes on top",
    ]


def operations(flops: Counter[str]) -> str:
    """Operations by type, as text."""
    total = flops.total()
    unit, name = (1e15, "PFLOP") if total >= 1e14 else (1e12, "TFLOP")
    parts = ", ".join(f"{number / unit:.3g} in {dtype}" for dtype, number in flops.most_common())
    return f"{total / unit:.3g} {name}" + (f" ({parts})" if len(flops) > 1 else "")


def span(seconds: float) -> str:
    """A time for people."""
    for limit, unit, name in (
        (120.0, 1.0, "seconds"),
        (7200.0, 60.0, "minutes"),
        (2 * 86400.0, 3600.0, "hours"),
    ):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86400:.1f} days"
