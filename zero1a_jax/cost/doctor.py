"""What a machine has for a run, and whether its kernels are right."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from packaging.requirements import Requirement

from zero1a_jax import geometry, rasterizer
from zero1a_jax.commandline import environment
from zero1a_jax.fetching import manifests
from zero1a_jax.types import Array, Camera, Gaussians

PACKAGE = "zero1a_jax"
TOLERANCE = 1e-3  # of the Pallas kernels' pictures and gradients to XLA's, relative to the largest value
ROOM = 2 << 30  # bytes: a quickstart's folder takes less


class Finding(NamedTuple):
    """One line of the report."""

    fine: bool
    text: str


def findings(workdir: Path, assets: Path | None) -> Iterator[Finding]:
    """Everything, what is quick first: versions, devices, disk, assets, kernels (seconds)."""
    yield from versions()
    yield from devices()
    yield from disk(workdir)
    yield from files(assets)
    yield from kernels()


def versions() -> Iterator[Finding]:
    """The required packages, each with what is allowed."""
    for text in importlib.metadata.requires(PACKAGE) or ():
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(needed.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(False, f"{needed.name} is not installed: pip install '{needed}'")
            continue
        if needed.specifier.contains(found, prereleases=True):
            yield Finding(True, f"{needed.name} {found}")
        else:
            yield Finding(False, f"{needed.name} {found}, but {needed.specifier} is needed")


def devices() -> Iterator[Finding]:
    """The devices of jax, and what to expect of them."""
    kinds = [f"{device.platform}: {device.device_kind}" for device in jax.local_devices()]
    yield Finding(
        True, f"jax sees {len(kinds)} x {kinds[0]}; {environment.cores()} cores of the CPU are usable"
    )
    platform = jax.default_backend()
    if platform == "cpu":
        yield Finding(
            True, "a CPU: quickstart.flags takes minutes; the full-size diffusion is for GPUs and TPUs"
        )
    if platform == "gpu" and not rasterizer.has_kernels():
        yield Finding(
            False, "this GPU cannot run the Pallas kernels: rasterization by XLA, several times slower"
        )


def disk(workdir: Path) -> Iterator[Finding]:
    """Room and permission where runs go, and for compiled programs."""
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", "")
    for what, folder in (("runs", workdir), ("compiled programs", Path(cache) if cache else None)):
        if folder is None:
            yield Finding(False, "compiled programs are not kept: every start compiles anew; set HOME")
            continue
        there = folder.absolute()
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            yield Finding(False, f"{there} cannot be written to: {what} need another folder")
        else:
            yield Finding(free > ROOM, f"{free / 1e9:.1f} GB free for {what} in {folder}")


def files(assets: Path | None) -> Iterator[Finding]:
    """Which foreign files are there; `experiments.fetch --offline` also checks their checksums."""
    if assets is None:
        yield Finding(True, "no assets folder: the embedded head, diffusion and landmark net are used")
        return
    for manifest in manifests.load():
        missing = [file.path for file in manifest.files if not (assets / file.path).is_file()]
        if not missing:
            yield Finding(True, f"{manifest.name}: all of its {len(manifest.files)} files are there")
        elif len(missing) < len(manifest.files):
            yield Finding(False, f"{manifest.name}: {missing[0]} is missing in {assets}")


def kernels() -> Iterator[Finding]:
    """The rasterizer's Pallas kernels against XLA's, forward and gradient, on a small scene."""
    results = {}
    for name in ("xla", "pallas"):
        if name == "pallas" and not rasterizer.has_kernels():
            return
        begin = time.monotonic()
        results[name] = jax.tree.leaves(jax.device_get(picture_and_gradient(*scene(), name)))
        yield Finding(True, f"the rasterizer by {name}: {time.monotonic() - begin:.1f} s with compilation")
    worst = max(
        float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-6))
        for a, b in zip(results["xla"], results["pallas"], strict=True)
    )
    yield Finding(worst < TOLERANCE, f"Pallas and XLA differ by {worst:.1e} of the largest value at most")


def scene() -> tuple[Gaussians, Camera]:
    """Two hundred random Gaussians before a camera of 48 x 64 pixels."""
    draw = np.random.default_rng(0)
    gaussians = Gaussians(
        means=draw.uniform(-0.12, 0.12, (200, 3)).astype(np.float32),
        log_scales=draw.uniform(-5, -4, (200, 3)).astype(np.float32),
        quats=draw.normal(size=(200, 4)).astype(np.float32),
        opacity_logits=draw.normal(size=200).astype(np.float32),
        sh=draw.normal(size=(200, 1, 3)).astype(np.float32),
    )
    camera = geometry.portrait_camera(jnp.zeros(3), jnp.float32(0.3), jnp.float32(0.1), 64)
    return gaussians, geometry.resize(camera, 48, 64)


@functools.partial(jax.jit, static_argnums=2)
def picture_and_gradient(
    gaussians: Gaussians, camera: Camera, implementation: str
) -> tuple[Array, Gaussians]:
    """rgb [H, W, 3] and the gradient of its mean square."""

    def loss(given: Gaussians) -> tuple[Array, Array]:
        background = jnp.array([0.2, 0.4, 0.6])
        rgb = rasterizer.render(given, camera, background=background, implementation=implementation).rgb
        return jnp.mean(rgb**2), rgb

    (_, rgb), gradient = jax.value_and_grad(loss, has_aux=True)(gaussians)
    return rgb, gradient
