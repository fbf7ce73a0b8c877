"""What landmarks say of a head: residuals of points, outline, irises, priors, and the fit to them alone."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from zero1a_jax import geometry
from zero1a_jax.flame.landmarks import landmarks_drawn, landmarks_mediapipe
from zero1a_jax.flame.model import forward, frame_target, zero_params
from zero1a_jax.image.landmarks import OUTER_EYE_CORNERS, OUTLINE
from zero1a_jax.preprocess.detect import Detection
from zero1a_jax.preprocess.least_squares import minimise
from zero1a_jax.preprocess.subset import IRISES
from zero1a_jax.types import Array, Camera, FlameModel

FLIP = np.diag([1.0, -1.0, -1.0]).astype(np.float32)  # x right, y up, z to the viewer -> OpenCV
IRIS_IDS = (473, 468)  # left, right
OUTLINE_SPREAD = 0.004
IRIS_SPREAD = 0.0008
OUTLIER = 5.0  # spreads
HELD = 1e4  # the precision of what stays at its mean
NAMED_SPREAD = 0.3  # of ARKit-named expression weights, which live in 0..1
JAW_SPREAD = (0.2, 0.03, 0.03)  # radians
GAZE_SPREAD = 0.25
RIGID_STEPS, STEPS = 12, 40


class Observed(NamedTuple):
    """What a detection says, in the pixels of the fit's camera."""

    points: Array  # [105, 2] pixels
    weights: Array  # [105]
    outline: Array  # [27, 2] pixels
    outline_weights: Array  # [27]
    irises: Array  # [2, 2] pixels, left then right
    iris_weights: Array  # [2]
    spread: Array  # [] metres, see Detection.spread
    focal: Array  # []
    center: Array  # [2]


class Unknowns(NamedTuple):
    """All that is solved for, without leading axes."""

    turn: Array  # [3] rotation vector of the head about its frame target
    shift: Array  # [3] of the frame target in the camera, metres; (0, 0, 1) is canonical
    shape: Array
    expression: Array
    jaw: Array  # [3]
    gaze: Array  # [2] rotation of both eyes about x and y


class Prior(NamedTuple):
    """What is believed of the unknowns before the picture is seen."""

    mean: Unknowns
    precision: Unknowns  # 1 / standard deviation
    named: Array  # [] 1 where expression weights are ARKit's (0..1), else 0


def eyes_of(gaze: Array) -> Array:
    """FlameParams.eyes [2, 3] of one gaze [2]: both eyes turn alike."""
    both = jnp.concatenate([gaze, jnp.zeros(1, gaze.dtype)])
    return jnp.stack([both, both])


def observe(model: FlameModel, detection: Detection, camera: Camera) -> tuple[Observed, int]:
    """What a detection says in the pixels of `camera`, and how many of the head's points it knows."""
    points, found = detection.lookup(np.asarray(model.mediapipe_indices))
    outline, outline_found = detection.lookup(np.array(OUTLINE))
    irises, irises_found = detection.lookup(np.array(IRIS_IDS))
    facing = _facing(model, detection.rotation)
    # Far from the camera's side a detector only guesses the outline.
    side = np.linspace(-1.0, 1.0, len(OUTLINE)) * detection.rotation[2, 0]  # > 0: the hidden side
    observed = Observed(
        points=points,
        weights=found * facing,
        outline=outline,
        outline_weights=outline_found * (side < 0.3),
        irises=irises,
        iris_weights=irises_found.astype(np.float32),
        spread=np.asarray(detection.spread),
        focal=np.asarray(np.mean(np.asarray(camera.focal))),
        center=np.asarray(camera.center, np.float32),
    )
    as_float = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), observed)
    return as_float, int(found.sum())


def _facing(model: FlameModel, rotation: np.ndarray) -> np.ndarray:
    """Weights [105]: 1 for points whose surface faces the camera, down to 0.1 for hidden ones."""
    corners = np.asarray(model.template)[np.asarray(model.faces)[np.asarray(model.mediapipe_faces)]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    # Lids and lips are small folds whose own normals mislead; the sphere about the head tells the side.
    middle = corners.mean(1)
    round_normals = middle - np.array([0.0, middle[:, 1].mean(), middle[:, 2].min() - 0.06])
    round_normals /= np.linalg.norm(round_normals, axis=-1, keepdims=True)
    toward = (normals * 0.3 + round_normals * 0.7) @ rotation[2]
    return np.clip(0.1 + 2.0 * toward, 0.1, 1.0)


def priors(model: FlameModel, detection: Detection) -> Prior:
    """Identity and expression about their means, or about the detection's scores of the same name."""
    names = model.expression_names
    count = model.expression_basis.shape[-1]
    named = bool(names) and "jawOpen" in names
    scores = np.array([detection.scores.get(name, 0.0) for name in names] or [0.0] * count, np.float32)
    # Gaze is the eyes' joints alone: shapes that turn the eyeballs too would be the same thing twice.
    looks = np.array([name.startswith("eyeLook") for name in names] or [False] * count)
    scores[looks] = 0.0
    zero = np.zeros
    shapes = model.shape_basis.shape[-1]
    mean = Unknowns(
        zero(3), np.array([0.0, 0.0, 1.0]), zero(shapes), scores if named else zero(count), zero(3), zero(2)
    )
    jaw = np.full(3, HELD) if named else 1.0 / np.array(JAW_SPREAD)
    spread = NAMED_SPREAD if named else 1.0
    precise = np.where(looks, HELD, 1.0 / spread)
    precision = Unknowns(zero(3), zero(3), np.ones(shapes), precise, jaw, np.full(2, 1.0 / GAZE_SPREAD))

    def as_float(values: Unknowns) -> Unknowns:
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), values)

    return Prior(as_float(mean), as_float(precision), jnp.float32(named))


def camera_of(model: FlameModel, unknowns: Unknowns, like: Camera) -> Camera:
    """The camera of a guess, with the intrinsics of `like`: it carries the head's rigid motion."""
    target = frame_target(model, jnp.zeros_like(unknowns.shape))
    rotation = FLIP @ geometry.axis_angle_to_matrix(unknowns.turn)
    shift = unknowns.shift - jnp.matmul(rotation, target, precision="highest")
    matrix = jnp.eye(4).at[:3, :3].set(rotation).at[:3, 3].set(shift)
    return like.replace(
        world_to_camera=matrix, focal=jnp.asarray(like.focal), center=jnp.asarray(like.center)
    )


def pixels_of(model: FlameModel, observed: Observed, unknowns: Unknowns) -> tuple[Array, Array, Array]:
    """Pixels of the 105 points, the outline [27, 2] and the irises [2, 2] of a guess."""
    camera = Camera(jnp.eye(4), jnp.full(2, observed.focal), observed.center, 1, 1)
    camera = camera_of(model, unknowns, camera)
    params = zero_params(model).replace(
        shape=unknowns.shape, expression=unknowns.expression, jaw=unknowns.jaw, eyes=eyes_of(unknowns.gaze)
    )
    vertices, _ = forward(model, params)
    outline = landmarks_drawn(model, vertices, params, camera=camera)[-len(OUTLINE) :]
    irises = vertices[np.array(IRISES)]
    points = jnp.concatenate([landmarks_mediapipe(model, vertices), outline, irises])
    pixels, _ = geometry.project(camera, points)
    return pixels[:-29], pixels[-29:-2], pixels[-2:]


def _across(points: Array, line: Array, weights: Array) -> tuple[Array, Array]:
    """Signed distance [P] of points [P, 2] from the nearest segment of a polyline [L, 2], and the
    segment's weight [P]; beyond the line's ends the weight is 0."""
    start, step = line[:-1], line[1:] - line[:-1]
    squared = jnp.maximum(jnp.sum(step * step, -1), 1e-6)
    away = points[:, None] - start
    part = jnp.sum(away * step, -1) / squared
    near = jnp.clip(part, 0.0, 1.0)
    gap = jnp.sum((away - near[..., None] * step) ** 2, -1)
    best = jnp.argmin(gap, -1)
    rows = jnp.arange(len(points))
    away, step, part = away[rows, best], step[best], part[rows, best]
    signed = (away[:, 0] * step[:, 1] - away[:, 1] * step[:, 0]) / jnp.sqrt(squared[best])
    inside = ((best > 0) | (part >= 0)) & ((best < len(line) - 2) | (part <= 1))
    return signed, jnp.where(inside, jnp.minimum(weights[best], weights[best + 1]), 0.0)


def residuals(model: FlameModel, observed: Observed, prior: Prior, unknowns: Unknowns, scale: Array) -> Array:
    """Everything that the fit makes small, in standard deviations; `scale` is metres a pixel."""
    points, outline, irises = pixels_of(model, observed, unknowns)
    away = (points - observed.points) * scale / observed.spread
    # Geman and McClure's: what lies far off (a wrong or hidden point) pulls no harder.
    away = away / jnp.sqrt(1.0 + jnp.sum(away * away, -1, keepdims=True) / OUTLIER**2)
    away = away * jnp.sqrt(observed.weights)[:, None]
    signed, line_weights = _across(outline, observed.outline, observed.outline_weights)
    signed = signed * scale / OUTLINE_SPREAD
    signed = signed / jnp.sqrt(1.0 + (signed / OUTLIER) ** 2) * jnp.sqrt(line_weights)
    gaze = (irises - observed.irises) * scale / IRIS_SPREAD
    gaze = jnp.clip(gaze, -20.0, 20.0) * jnp.sqrt(observed.iris_weights)[:, None]
    priors = jax.tree.map(lambda x, m, p: (x - m) * p, unknowns, prior.mean, prior.precision)
    negative = jnp.minimum(unknowns.expression, 0.0) / 0.03 * prior.named
    above = jnp.maximum(unknowns.expression - 1.0, 0.0) / 0.1 * prior.named
    parts = (away, signed, gaze, *priors, negative, above)
    return jnp.concatenate([jnp.ravel(part) for part in parts])


@jax.jit
def solve(model: FlameModel, observed: Observed, prior: Prior, turn: Array) -> Unknowns:
    """The head of the landmarks alone: rigid steps from a flat guess with rotation vector `turn` [3],
    then all unknowns."""
    start = prior.mean._replace(turn=turn)
    start = start._replace(shift=_first_shift(model, observed, start))
    vector, unravel = ravel_pytree(start)
    rigid = jax.tree.map(jnp.zeros_like, start)._replace(turn=jnp.ones(3), shift=jnp.ones(3))
    free = jnp.ones((RIGID_STEPS + STEPS, len(vector))).at[:RIGID_STEPS].set(ravel_pytree(rigid)[0])
    scale = start.shift[2] / observed.focal

    def misfit(values: jax.Array) -> jax.Array:
        return jnp.asarray(residuals(model, observed, prior, unravel(values), scale))

    return unravel(minimise(misfit, vector, free))


def interocular(model: FlameModel, unknowns: Unknowns) -> Array:
    """Metres between the outer eye corners of a guess."""
    params = zero_params(model).replace(shape=unknowns.shape, expression=unknowns.expression)
    marks = landmarks_mediapipe(model, forward(model, params)[0])
    left, right = (jnp.argmax(jnp.asarray(model.mediapipe_indices) == corner) for corner in OUTER_EYE_CORNERS)
    return jnp.linalg.norm(marks[left] - marks[right])


def _first_shift(model: FlameModel, observed: Observed, start: Unknowns) -> Array:
    """The frame target's place in the camera that fits size and middle of the points, all at one depth."""
    points, _, _ = pixels_of(model, observed, start)
    weights = observed.weights[:, None] / jnp.sum(observed.weights)

    def spread(values: Array) -> tuple[Array, Array]:
        middle = jnp.sum(values * weights, 0)
        return middle, jnp.sqrt(jnp.sum((values - middle) ** 2 * weights))

    middle, size = spread(points)
    wanted, wanted_size = spread(observed.points)
    depth = start.shift[2] * size / jnp.maximum(wanted_size, 1e-3)
    # Where the points' middle lies beside the target's projection shrinks with depth.
    beside = (middle - observed.center) * start.shift[2] / depth
    plane = (wanted - observed.center - beside) * depth / observed.focal
    return jnp.concatenate([plane, depth[None]])
