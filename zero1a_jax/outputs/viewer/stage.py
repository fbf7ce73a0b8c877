"""What the viewer shows: an avatar as callables, and motions to play. Nothing here knows a head model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from zero1a_jax.provenance import Provenance
from zero1a_jax.types import Camera, FlameParams, Gaussians


@dataclasses.dataclass(frozen=True)
class Stage:
    """An avatar. FlameParams have no leading axes, cameras one of length 1; metres, the head's world.

    `picture` gives rgb [S, S, 3] in 0..1 and depth [S, S], 0 where nothing is.
    """

    names: Sequence[str]  # of the sliders: ARKit's shapes, and turns in degrees
    params: Callable[[Mapping[str, float]], FlameParams]  # what weights and turns by name ask of the head
    gaussians: Callable[[FlameParams], Gaussians]  # in the world, the dead left out
    vertices: Callable[[FlameParams], np.ndarray]  # [V, 3]
    faces: np.ndarray  # [F, 3]
    landmarks: Callable[[FlameParams], np.ndarray]  # [P, 3]; P may be 0
    picture: Callable[[FlameParams, Camera], tuple[np.ndarray, np.ndarray]]  # rgb, depth or 0
    size: int  # pixels a side of what `picture` takes and gives
    target: np.ndarray  # [3], what the camera looks at
    background: np.ndarray  # [3] in 0..1
    provenance: Provenance | None = None  # what saved pictures and videos say


class Clip(NamedTuple):
    """A motion to play: parameters [T] and their frames a second."""

    flame: FlameParams
    fps: float
