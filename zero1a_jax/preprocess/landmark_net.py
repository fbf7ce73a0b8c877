"""The embedded landmark net: a small convolutional network from a 128 x 128 crop to face points."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from zero1a_jax.errors import Refused
from zero1a_jax.image.landmarks import DRAWN_FEATURES, OUTLINE
from zero1a_jax.types import Array

CROP = 128
NOSE = (2, 4, 5, 6, 97, 98, 129, 168, 195, 197, 326, 327, 358)
FEATURES = tuple(sorted(DRAWN_FEATURES + NOSE))  # FLAME's 105 MediaPipe points
IRISES = (473, 468)  # centres of the subject's left and right
POINTS = FEATURES + OUTLINE + IRISES
ASSET = resources.files("zero1a_jax") / "assets" / "landmark_net.safetensors"


class Output(NamedTuple):
    """What the net says of crops [*B]."""

    points: Array  # [*B, 134, 2] pixels of the crop, the order of POINTS
    rotation: Array  # [*B, 3, 3] of the head, as Detection.rotation
    confidence: Array  # [*B] logit that one face fills the crop


class LandmarkNet(nn.Module):
    """Five strided stages, each followed by a residual convolution, and two dense layers."""

    widths: tuple[int, ...] = (16, 32, 64, 96, 112)
    neck: int = 48
    hidden: int = 256

    @nn.compact
    def __call__(self, crops: Array) -> Array:
        """Crops [B, 128, 128, 3] in 0..1 to raw outputs [B, 2 * 134 + 6 + 1]."""
        mean = jnp.mean(crops, (1, 2, 3), keepdims=True)
        spread = jnp.sqrt(jnp.mean((crops - mean) ** 2, (1, 2, 3), keepdims=True))
        x = (crops - mean) / (spread + 0.05)
        for stage, width in enumerate(self.widths):
            kernel = 5 if stage == 0 else 3
            x = nn.Conv(width, (kernel, kernel), strides=2, name=f"down{stage}")(x)
            x = nn.relu(nn.GroupNorm(num_groups=8, name=f"norm{stage}")(x))
            if stage:
                x = x + 0.5 * nn.relu(nn.Conv(width, (3, 3), name=f"stay{stage}")(x))
        x = nn.relu(nn.Conv(self.neck, (1, 1), name="neck")(x))
        x = nn.relu(nn.Dense(self.hidden, name="hidden")(x.reshape(len(x), -1)))
        return nn.Dense(2 * len(POINTS) + 7, name="out")(x)


def decode(values: Array) -> Output:
    """The meaning of raw outputs [*B, 275]."""
    count = 2 * len(POINTS)
    points = values[..., :count].reshape(*values.shape[:-1], len(POINTS), 2)
    first, second = values[..., count : count + 3], values[..., count + 3 : count + 6]
    first = first + jnp.array([1.0, 0.0, 0.0])
    second = second + jnp.array([0.0, 1.0, 0.0])
    x = first / jnp.linalg.norm(first, axis=-1, keepdims=True)
    y = second - jnp.sum(second * x, -1, keepdims=True) * x
    y = y / jnp.linalg.norm(y, axis=-1, keepdims=True)
    rotation = jnp.stack([x, y, jnp.cross(x, y)], -1)  # columns: the head's axes
    return Output((points + 1.0) * (0.5 * CROP), rotation, values[..., -1])


def raw(params: Any, crops: Array) -> jax.Array:
    """Raw outputs [B, 275] of crops [B, 128, 128, 3] in 0..1, see `decode`."""
    return jnp.asarray(LandmarkNet().apply({"params": params}, crops))


@jax.jit
def apply(params: Any, crops: Array) -> Output:
    """The net on crops [B, 128, 128, 3] in 0..1."""
    return decode(raw(params, crops))


@functools.cache
def load() -> Any:
    """The shipped weights as a tree of float32 arrays. Raises Refused when the file is absent."""
    path = str(ASSET)
    if not ASSET.is_file():
        raise Refused(
            "The embedded landmark net's weights are missing: run python -m experiments.pretrain_landmarks."
        )
    return unflatten(load_file(path))


def flatten(params: Any) -> dict[str, np.ndarray]:
    """Weights as float16 arrays by dotted name, as they ship."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {".".join(key.key for key in path): np.asarray(leaf, np.float16) for path, leaf in leaves}


def unflatten(arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `flatten`, in float32."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = jnp.asarray(array, jnp.float32)
    return tree
