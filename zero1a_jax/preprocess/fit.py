"""One face's landmarks, and then its picture, to a FLAME head and a camera.

The head keeps its own frame (no root or neck rotation, no translation) and the camera carries the
rigid motion, so that everything made later around the head relates to one frame. Focal length and
distance cannot both be told from one picture: the focal length is the given one and the distance is solved.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from zero1a_jax import geometry
from zero1a_jax.errors import Refused
from zero1a_jax.flame.model import frame_target, zero_params
from zero1a_jax.preprocess.detect import Detection
from zero1a_jax.preprocess.fit_landmarks import (
    FLIP,
    Observed,
    Unknowns,
    camera_of,
    eyes_of,
    interocular,
    observe,
    pixels_of,
    priors,
    solve,
)
from zero1a_jax.preprocess.subset import landmark_subset
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

TOLERATED = 0.05  # inter-ocular distances


def _unseen() -> Array:
    return np.full((), np.nan, np.float32)


@struct.dataclass
class Fit:
    """A fitted head. Distances are means in inter-ocular distances: those of the outer eye corners on a
    frontal view of the fitted head at its distance. `rim` and `expected` are NaN where no picture was read.
    """

    flame: FlameParams  # no leading axes
    camera: Camera  # one camera
    points: Array  # [105, 2] pixels: the fitted head's, in the order of the model's embedding
    error: Array  # [] of the 105 points from the detected ones
    interocular: Array  # [] metres between the outer eye corners
    rim: Array = struct.field(default_factory=_unseen)  # [] of the head's rim from the person's edge
    expected: Array = struct.field(default_factory=_unseen)  # [] of the visible points from the truth

    @property
    def confidence(self) -> float:
        """exp(-expected / 0.05): 0.55 where the points may lie 3 % of the inter-ocular distance off, 0.37
        at 5 %. Of a fit to landmarks alone exp(-error / 0.05), which says how far head and points agree."""
        expected = float(self.expected)
        return math.exp(-(float(self.error) if math.isnan(expected) else expected) / TOLERATED)


def fit(model: FlameModel, detection: Detection, camera: Camera) -> Fit:
    """Shape, expression, jaw, gaze and rigid camera of the head that a detection shows.

    Args:
      model: any FlameModel with the MediaPipe and contour embeddings.
      detection: points in the pixels of `camera`'s image; hidden points count less.
      camera: gives focal length (fx = fy), centre and size; its pose is not read.

    The 105 points weigh most; the outline pulls only across itself, since what lies on it slides.
    Scores of a detection start and hold the expressions of the same name. A head with expressions of
    ARKit's names opens its mouth by them and keeps the jaw joint at rest; others use the joint.
    Deterministic. Raises Refused where the model has no embedding or shares no points.
    """
    reduced = landmark_subset(model)
    observed, known = observe(reduced, detection, camera)
    if known < 20:
        raise Refused("The detector and the head share too few landmarks: use FLAME's 105 ids.")
    turn = geometry.matrix_to_axis_angle(jnp.asarray(detection.rotation))
    unknowns = solve(reduced, observed, priors(reduced, detection), turn)
    return assemble(model, reduced, observed, unknowns, camera)


def assemble(
    model: FlameModel, reduced: FlameModel, observed: Observed, unknowns: Unknowns, like: Camera
) -> Fit:
    """The Fit of solved unknowns; `like` gives the camera's intrinsics."""
    points, error, apart = _judge(reduced, observed, unknowns)
    flame = zero_params(model)
    flame = flame.replace(
        shape=_pad(unknowns.shape, flame.shape),
        expression=_pad(unknowns.expression, flame.expression),
        jaw=unknowns.jaw,
        eyes=eyes_of(unknowns.gaze),
    )
    return Fit(flame, camera_of(reduced, unknowns, like), points, error, apart)


def unknowns_of(model: FlameModel, fitted: Fit) -> Unknowns:
    """The inverse of `assemble`, as many coefficients as `model` (a reduced head) has."""
    matrix = jnp.asarray(fitted.camera.world_to_camera)
    target = frame_target(model, jnp.zeros(model.shape_basis.shape[-1]))
    shift = jnp.matmul(matrix[:3, :3], target, precision="highest") + matrix[:3, 3]
    flame = fitted.flame
    return Unknowns(
        turn=geometry.matrix_to_axis_angle(jnp.asarray(FLIP) @ matrix[:3, :3]),
        shift=shift,
        shape=flame.shape[: model.shape_basis.shape[-1]],
        expression=flame.expression[: model.expression_basis.shape[-1]],
        jaw=flame.jaw,
        gaze=flame.eyes[0, :2],
    )


def _pad(values: Array, like: Array) -> Array:
    return jnp.zeros_like(like).at[: len(values)].set(values)


@jax.jit
def _judge(model: FlameModel, observed: Observed, unknowns: Unknowns) -> tuple[Array, Array, Array]:
    """The 105 fitted points [105, 2], their mean distance from the detected in inter-ocular distances, and
    that distance in metres."""
    points = pixels_of(model, observed, unknowns)[0]
    gap = jnp.linalg.norm(points - observed.points, axis=-1)
    known = observed.weights > 0
    mean = jnp.sum(jnp.where(known, gap, 0.0)) / jnp.sum(known)
    apart = interocular(model, unknowns)
    return points, mean / (apart * observed.focal / unknowns.shift[2]), apart
