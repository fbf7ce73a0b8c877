"""The fixed views and expressions that avatars are judged on. No run trains on them.

Views spread evenly over bands of yaw; expressions are sums of three ARKit shapes at random strength with a
random gaze, while training shows single shapes and smooth motions. Numbers come from numpy's PCG64 with a
fixed seed, so that they are the same for every avatar, device and jax version.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.types import FlameModel, FlameParams

BANDS = ((0, 15), (15, 30), (30, 45), (45, 60), (60, 75))  # degrees of |yaw|
COUNT = 24
FOLDER = "held_out"  # of a run that has frames of the pairs instead of an avatar
_SEED = 20250315
_SHAPES = (
    "jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthPucker", "mouthFunnel", "mouthFrownLeft",
    "mouthFrownRight", "mouthLeft", "mouthRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browInnerUp",
    "browDownLeft", "browDownRight", "browOuterUpLeft", "browOuterUpRight", "eyeBlinkLeft", "eyeBlinkRight",
    "eyeSquintLeft", "eyeSquintRight", "cheekPuff", "noseSneerLeft", "noseSneerRight", "jawLeft", "jawRight",
)  # fmt: skip


class Pairs(NamedTuple):
    """K pairs of view and expression."""

    yaw: np.ndarray  # [K] degrees; above 0 the camera stands at the subject's left
    pitch: np.ndarray  # [K] degrees
    flame: FlameParams  # [K], shape 0: each head brings its own


def pairs(model: FlameModel, count: int = COUNT) -> Pairs:
    """The first `count` held-out pairs; bands and sides take turns.

    Raises:
      Refused: the head lacks ARKit's names, or more than 240 pairs are asked for.
    """
    known = [name for name in _SHAPES if name in model.expression_names]
    if len(known) < len(_SHAPES) // 2:
        raise Refused(f"the head {model.version} lacks ARKit-named expressions, which the held-out pairs use")
    if not 1 <= count <= 240:
        raise Refused(f"count is {count}; ask for 1 to 240 pairs")
    yaw, pitch = np.zeros(count), np.zeros(count)
    expression = np.zeros((count, len(model.expression_names)), np.float32)
    eyes = np.zeros((count, 2, 3), np.float32)
    for k in range(count):
        draw = np.random.default_rng([_SEED, k])
        low, high = BANDS[k % len(BANDS)]
        side = 1 if (k // len(BANDS)) % 2 == 0 else -1
        yaw[k] = side * draw.uniform(low, high)
        pitch[k] = draw.uniform(-12, 12)
        for name in draw.permutation(known)[:3]:
            expression[k, model.expression_names.index(name)] = draw.uniform(0.3, 0.9)
        eyes[k, :, 0], eyes[k, :, 1] = draw.uniform(-0.12, 0.12), draw.uniform(-0.3, 0.3)
    zeros = np.zeros((count, 3), np.float32)
    shape = np.zeros((count, np.shape(model.shape_basis)[2]), np.float32)
    return Pairs(yaw, pitch, FlameParams(shape, expression, zeros, zeros, zeros, eyes, zeros))


def name(pair: int) -> str:
    """The file of a pair's frame in FOLDER."""
    return f"{pair:03}.png"


def band(yaw: float) -> str:
    """The name of the band that |yaw| falls in, such as "30-45"."""
    low, high = next((b for b in BANDS if b[0] <= abs(yaw) < b[1]), BANDS[-1])
    return f"{low}-{high}"
