"""Other rasterizers on the same scene: a file of the reader's, gsplat (torch, CUDA), splax (JAX, CUDA).

None is needed. What is not there is named in a sentence; what is there gets the Gaussians that we draw, and
its picture is compared with ours. The adapters for gsplat and splax are written after the documentation of
gsplat 1.5 and splax 0.2 and have not run yet, for want of a GPU.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.image.colour import from_sh
from zero1a_jax.types import Array, Camera, Gaussians

BACKGROUND = 0.2  # of red, green and blue, for everyone


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another rasterizer, ready to draw one scene."""

    name: str  # with its version
    forward: Callable[[], Any]  # returns arrays, or waits for its device itself
    gradient: Callable[[], Any]
    image: Callable[[], np.ndarray]  # [H, W, 3]


Factory = Callable[[Gaussians, Camera, int], Peer]


def available(path: str) -> tuple[list[Factory], list[str]]:
    """The peers that can run here, and a sentence for each that cannot. `path`: see `from_file`; or ""."""
    factories: list[Factory] = [from_file(path)] if path else []
    if jax.default_backend() != "gpu":
        return factories, ["gsplat and splax need an NVIDIA GPU: not compared."]
    absent = []
    for name, factory in (("gsplat", gsplat), ("splax", splax)):
        try:
            importlib.import_module(name)
        except (ImportError, RuntimeError) as error:  # splax raises the latter, see `splax`
            absent.append(f"{name} cannot be imported ({str(error).splitlines()[0]}): not compared.")
        else:
            factories.append(factory)
    return factories, absent


def difference(image: np.ndarray, peer: np.ndarray) -> tuple[float, float]:
    """The largest difference of two images, and the share of pixels that differ by more than 1/255."""
    apart = np.abs(np.asarray(image, np.float64) - peer).max(-1)
    return float(apart.max()), float((apart > 1 / 255).mean())


def from_file(path: str) -> Factory:
    """A Python file with make(width, height, 8, 8, lanes, unroll, capacity).

    It returns render(means, quats, scales, opacities, colours, view, intrinsics, background) ->
    ([4, H, W] of rgb and alpha, count). Refused where `path` is no Python file.
    """
    spec = importlib.util.spec_from_file_location("peer", path)
    if spec is None or spec.loader is None:
        raise Refused(f"--peer={path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def factory(gaussians: Gaussians, camera: Camera, capacity: int) -> Peer:
        render = module.make(camera.width, camera.height, 8, 8, 64, 4, capacity)
        weights = np.random.default_rng(1).normal(size=(4, camera.height, camera.width))
        weights = jnp.asarray(weights, jnp.float32)  # an argument, as ours are
        means, quats, scales, opacities, colours = _constrained(gaussians)
        fixed = (camera.world_to_camera, jnp.asarray(_intrinsics(camera)), jnp.full(3, BACKGROUND))
        image = jax.jit(lambda *a: render(*a)[0])
        gradient = jax.jit(jax.grad(lambda w, *a: jnp.sum(render(*a)[0] * w), (1, 2, 3, 4, 5)))
        arguments = (means, quats, scales, opacities, colours, *fixed)
        return Peer(
            "PEER",
            lambda: image(*arguments),
            lambda: gradient(weights, *arguments),
            lambda: np.moveaxis(np.asarray(image(*arguments)[:3]), 0, -1),
        )

    return factory


def gsplat(gaussians: Gaussians, camera: Camera, capacity: int) -> Peer:
    """gsplat's `rasterization` with colours and depth, unpacked, which is its faster mode for one view."""
    import gsplat as package  # pyright: ignore
    import torch  # pyright: ignore

    del capacity  # it allocates what it needs
    arguments = [torch.tensor(np.asarray(x), device="cuda") for x in _constrained(gaussians)]
    view, matrix = (
        torch.tensor(np.asarray(x, np.float32)[None], device="cuda")
        for x in (camera.world_to_camera, _intrinsics(camera))
    )
    weights = torch.randn(1, camera.height, camera.width, 5, device="cuda")

    def render() -> tuple:
        size = (camera.width, camera.height)
        image, alpha, _ = package.rasterization(
            *arguments, view, matrix, *size, packed=False, render_mode="RGB+D"
        )
        return image[..., :3] + (1 - alpha) * BACKGROUND, alpha, image[..., 3:]

    def forward() -> None:
        with torch.no_grad():
            render()
        torch.cuda.synchronize()

    def gradient() -> None:
        for argument in arguments:
            argument.grad = None
            argument.requires_grad_(True)
        torch.sum(torch.cat(render(), -1) * weights).backward()
        torch.cuda.synchronize()

    name = f"gsplat {metadata.version('gsplat')} (torch {torch.__version__})"
    return Peer(name, forward, gradient, lambda: render()[0][0].detach().cpu().numpy())


def splax(gaussians: Gaussians, camera: Camera, capacity: int) -> Peer:
    """splax's differentiable `training.render` with depth.

    It wants scipy's array interface switched on before anything imports scipy, which JAX does: start the
    benchmark with SCIPY_ARRAY_API=1 in the environment. It needs Python 3.12.
    """
    import splax as package  # pyright: ignore

    del capacity  # it allocates what it needs
    means, quats, scales, opacities, colours = _constrained(gaussians)
    arguments = (means, scales, quats, colours, opacities)
    (fx, fy), (cx, cy) = (tuple(map(float, pair)) for pair in (camera.focal, camera.center))
    options = {"img_shape": (camera.height, camera.width), "f": (fx, fy), "c": (cx, cy)}
    fixed = {"viewmat": camera.world_to_camera, "background": jnp.full(3, BACKGROUND)}
    weights = np.random.default_rng(1).normal(size=(camera.height, camera.width, 4))
    weights = jnp.asarray(weights, jnp.float32)

    def render(*arguments: jax.Array) -> tuple[jax.Array, jax.Array]:
        image, depth = package.training.render(*arguments, **fixed, **options, render_depth=True)
        return image, depth.reshape(camera.height, camera.width, 1)

    def loss(weights: jax.Array, *arguments: jax.Array) -> jax.Array:
        return jnp.sum(jnp.concatenate(render(*arguments), -1) * weights)

    image, gradient = jax.jit(render), jax.jit(jax.grad(loss, (1, 2, 3, 4, 5)))
    return Peer(
        f"splax {metadata.version('splax')}",
        lambda: image(*arguments),
        lambda: gradient(weights, *arguments),
        lambda: np.asarray(image(*arguments)[0]),
    )


def _constrained(gaussians: Gaussians) -> tuple[Array, ...]:
    """Means, quats, scales, opacities and colours as others want them; harmonics of degree 0 only."""
    return (
        gaussians.means,
        gaussians.quats,
        jnp.exp(gaussians.log_scales),
        jax.nn.sigmoid(gaussians.opacity_logits),
        jnp.maximum(from_sh(gaussians.sh[:, 0]), 0),
    )


def _intrinsics(camera: Camera) -> np.ndarray:
    (fx, fy), (cx, cy) = np.asarray(camera.focal), np.asarray(camera.center)
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float32)
