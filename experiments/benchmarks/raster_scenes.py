"""What the rasterizer's benchmark draws: scenes of any number of Gaussians at any size, from a seed."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import avatar, flame
from zero1a_jax.errors import Refused
from zero1a_jax.geometry import cameras
from zero1a_jax.types import Camera, Gaussians


class Case(NamedTuple):
    """One scene at one size."""

    scene: str
    size: int  # Gaussians
    pixels: int  # a side of the square image

    def __str__(self) -> str:
        prefix = "" if self.scene == "shell" else f"{self.scene}:"
        return f"{prefix}{self.size}@{self.pixels}"


def parse(text: str) -> Case:
    """Reads "10000@128" or "cloud:10000@128"; Refused, with what was expected, for anything else."""
    scene, _, rest = text.rpartition(":")
    size, _, pixels = rest.partition("@")
    scene = scene or "shell"
    if scene not in SCENES or not (size.isdigit() and pixels.isdigit() and int(size) and int(pixels)):
        wanted = f"GAUSSIANS@PIXELS or SCENE:GAUSSIANS@PIXELS, with SCENE of {', '.join(SCENES)}"
        raise Refused(f"{text!r} is no case; it reads {wanted}")
    return Case(scene, int(size), int(pixels))


def build(case: Case) -> tuple[Gaussians, Camera]:
    """The Gaussians and the camera of a case."""
    return SCENES[case.scene](case.size, case.pixels)


def shell(size: int, pixels: int, seed: int = 0) -> tuple[Gaussians, Camera]:
    """Flat Gaussians tangent to a bumpy ellipsoid, median radius 4 px, and a camera that it fills."""
    r = np.random.default_rng(seed)
    axes = np.array([0.78, 1.0, 0.88])
    unit = r.normal(size=(size, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    bumps = 1 + 0.05 * np.sin(7 * unit[:, :1]) * np.cos(5 * unit[:, 1:2])
    normal = unit / axes
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    # The rotation that takes z to the normal, after a random turn about z.
    lift = np.stack([1 + normal[:, 2], -normal[:, 1], normal[:, 0], np.zeros(size)], 1)
    half = r.uniform(0, np.pi, size)
    c, s = np.cos(half), np.sin(half)
    w, x, y, _ = lift.T
    quats = np.stack([w * c, x * c + y * s, y * c - x * s, w * s], 1)
    camera, pixel = _camera(pixels)
    long = 1.1 * pixel * np.exp(0.35 * r.normal(size=size))
    scales = np.stack([long, long * r.uniform(0.5, 1, size), 0.1 * long], 1)
    gaussians = Gaussians(
        means=unit * axes * bumps,
        log_scales=np.log(scales),
        quats=quats,
        sh=r.normal(size=(size, 1, 3)),
        opacity_logits=1 + 1.5 * r.normal(size=size),
    )
    return _single((gaussians, camera))


def cloud(size: int, pixels: int, seed: int = 0) -> tuple[Gaussians, Camera]:
    """A ball of faint Gaussians of 2 px deviation in all directions: long lists that no pixel ends early."""
    r = np.random.default_rng(seed)
    unit = r.normal(size=(size, 3))
    unit *= r.uniform(size=(size, 1)) ** (1 / 3) / np.linalg.norm(unit, axis=1, keepdims=True)
    camera, pixel = _camera(pixels)
    gaussians = Gaussians(
        means=unit,
        log_scales=np.log(2 * pixel * np.exp(0.5 * r.normal(size=(size, 3)))),
        quats=r.normal(size=(size, 4)),
        sh=r.normal(size=(size, 1, 3)),
        opacity_logits=-3 + r.normal(size=size),
    )
    return _single((gaussians, camera))


def head(size: int, pixels: int, seed: int = 0) -> tuple[Gaussians, Camera]:
    """The embedded head with `size` Gaussians on its triangles, at least one each, framed as in training."""
    model = flame.procedural_head()
    if size < len(model.faces):
        raise Refused(f"the scene head needs at least {len(model.faces)} Gaussians; got {size}")
    neutral = flame.zero_params(model)
    bound = avatar.bind(jax.random.key(seed), model, neutral.shape, capacity=size, count=size, opacity=0.6)
    gaussians = avatar.pose(bound, model, neutral)
    target = flame.frame_target(model, neutral.shape)
    return _single((gaussians, cameras.portrait_camera(target, jnp.array(0.3), jnp.array(0.0), pixels)))


def _camera(pixels: int) -> tuple[Camera, float]:
    """A camera that a ball of radius 1 fills to 84 %, and how large a pixel is at its centre."""
    distance = 6.0
    focal = 0.42 * pixels * distance
    view = np.eye(4)
    view[:3, :3] = [[np.cos(0.3), 0, np.sin(0.3)], [0, 1, 0], [-np.sin(0.3), 0, np.cos(0.3)]]
    view[2, 3] = distance
    camera = Camera(view, np.full(2, focal), np.full(2, pixels / 2), height=pixels, width=pixels)
    return camera, distance / focal


def _single(tree: tuple[Gaussians, Camera]) -> tuple[Gaussians, Camera]:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


SCENES = {"shell": shell, "cloud": cloud, "head": head}
