"""A fit of landmarks corrected by the picture itself: the person's edge and the colours of the skin.

A detector's points are biased together (the same few degrees too far for every face), which no number of
points tells. The rim of the head beside the matte, and light on skin, lips, brows and eyes, do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jax.flatten_util import ravel_pytree

from zero1a_jax import geometry
from zero1a_jax.flame.model import forward, zero_params
from zero1a_jax.preprocess.detect import Detection
from zero1a_jax.preprocess.fit import Fit, assemble, unknowns_of
from zero1a_jax.preprocess.fit_landmarks import (
    Observed,
    Prior,
    Unknowns,
    camera_of,
    eyes_of,
    interocular,
    observe,
    priors,
    residuals,
)
from zero1a_jax.preprocess.fit_photometric import FACING, Surface, expected, surface
from zero1a_jax.preprocess.fit_silhouette import Rim, find_rim, rim_weights, sample
from zero1a_jax.preprocess.least_squares import minimise
from zero1a_jax.preprocess.subset import landmark_subset, restrict
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

ndimage: Any = scipy.ndimage  # its own annotations mislead type checkers

Render = Callable[[Array, Array, Array, int, int], tuple[Array, Array, Array]]

ROUNDS, STEPS = 6, 3  # the rim, light and visibility are found anew in every round
BLUR = 0.006  # of the picture's side, for the colours
BIAS = 2.0  # how much wider than their spread points are believed here: they err together
RIM_SPREAD = 0.0012  # metres
COLOUR_SPREAD = 0.35  # of 0..1; many vertices tell the same
OUTLIER = 3.0  # spreads of the rim
WRONG_COLOUR = 0.12
SLACK = 0.003  # metres behind the z-buffer at which a vertex still counts as seen


class _Picture(NamedTuple):
    colours: Array  # [H, W, 3]
    alpha: Array  # [H, W], NaN where unknown


class Spreads(NamedTuple):
    """Standard deviations that the terms are believed to have."""

    bias: float = BIAS
    rim: float = RIM_SPREAD
    colour: float = COLOUR_SPREAD


BELIEVED = Spreads()


class _Still(NamedTuple):
    """What does not change from round to round."""

    observed: Observed
    prior: Prior
    rim: Array  # [V] weights
    surface: Surface
    picture: _Picture
    spreads: Spreads


def refine(
    model: FlameModel,
    fitted: Fit,
    detection: Detection,
    rgb: Array,
    alpha: Array,
    inside: Array,
    *,
    render: Render = geometry.zbuffer,
    spreads: Spreads = BELIEVED,
) -> Fit:
    """The fit moved so that its rim meets the person's edge and its colours those of one lit skin.

    Args:
      model, detection: as given to `fit.fit`.
      fitted: where to start: a fit in the picture's pixels.
      rgb: [H, W, 3] in 0..1.
      alpha: [H, W] in 0..1, the person's matte.
      inside: [H, W] bool, pixels that the picture covers; beyond them nothing is concluded.
      render: (pixels [V, 2], depth [V], faces [F, 3], height, width) to face ids [H, W] (-1 where none),
        barycentrics and depth [H, W], as `geometry.zbuffer`; jittable.

    Points, priors and what they hold are those of the landmark fit, the points believed less. Colours are
    compared only on a head whose masks tell lips, brows and eyes. Deterministic.
    """
    rgb, alpha = np.asarray(rgb, np.float32), np.asarray(alpha, np.float32)
    reduced = landmark_subset(model)
    camera = fitted.camera
    observed, _ = observe(reduced, detection, camera)
    parts = surface(model)
    if parts is None:
        parts = Surface(np.zeros(1, np.int32), np.zeros((1, 4), np.float32))
    blur = BLUR * rgb.shape[1]
    colours = np.stack([ndimage.gaussian_filter(rgb[..., i], blur) for i in range(3)], -1)
    known = np.where(np.asarray(inside, bool), alpha, np.nan)
    still = _Still(
        observed,
        priors(reduced, detection),
        rim_weights(model).astype(np.float32),
        parts,
        _Picture(colours, known),
        spreads,
    )
    cut, start = _cut(model, reduced), unknowns_of(reduced, fitted)
    unknowns, gap = _solve(cut, reduced, jax.tree.map(jnp.asarray, still), start, render)
    return assemble(model, reduced, observed, unknowns, camera).replace(rim=gap)


def _cut(model: FlameModel, reduced: FlameModel) -> FlameModel:
    """The full head with as many coefficients as the reduced one."""
    shapes, expressions = reduced.shape_basis.shape[-1], reduced.expression_basis.shape[-1]
    return model.replace(
        shape_basis=model.shape_basis[..., :shapes],
        expression_basis=model.expression_basis[..., :expressions],
        masks=None,
        expression_names=reduced.expression_names,
    )


def _params(model: FlameModel, unknowns: Unknowns) -> FlameParams:
    return zero_params(model).replace(
        shape=unknowns.shape, expression=unknowns.expression, jaw=unknowns.jaw, eyes=eyes_of(unknowns.gaze)
    )


@functools.partial(jax.jit, static_argnames="render")
def _solve(
    model: FlameModel, reduced: FlameModel, still: _Still, unknowns: Unknowns, render: Render
) -> tuple[Unknowns, Array]:
    """The unknowns, and `Fit.rim` as the last round met it."""
    height, width = still.picture.alpha.shape
    observed = still.observed._replace(spread=still.observed.spread * still.spreads.bias)
    lens = Camera(jnp.eye(4), jnp.full(2, observed.focal), observed.center, height, width)
    start, unravel = ravel_pytree(unknowns)
    scale = unknowns.shift[2] / observed.focal

    def round_(vector: jax.Array, _: None) -> tuple[jax.Array, Array]:
        now = unravel(vector)
        rim, colours, weights = _look(model, still, now, camera_of(model, now, lens), render)
        chosen = jnp.concatenate([rim.vertices, still.surface.vertices])
        few = restrict(model, chosen)
        count = len(rim.vertices)

        def misfit(values: jax.Array) -> jax.Array:
            guess = unravel(values)
            vertices, _ = forward(few, _params(model, guess))
            pixels, _ = geometry.project(camera_of(reduced, guess, lens), vertices[: len(chosen)])
            gap = jnp.sum((pixels[:count] - rim.edges) * rim.normals, -1) * scale / still.spreads.rim
            gap = gap / jnp.sqrt(1.0 + (gap / OUTLIER) ** 2) * jnp.sqrt(rim.weights)
            shown = sample(still.picture.colours, pixels[count:])
            shade = (shown - colours) / still.spreads.colour * jnp.sqrt(weights)[:, None]
            points = residuals(reduced, observed, still.prior, guess, scale)
            return jnp.concatenate([points, gap, shade.ravel()])

        gap = rim.gap() * scale / interocular(reduced, now)
        return minimise(misfit, vector, jnp.ones((STEPS, len(vector)))), gap

    vector, gaps = jax.lax.scan(round_, start, None, length=ROUNDS)
    return unravel(vector), gaps[-1]


def _look(
    model: FlameModel, still: _Still, unknowns: Unknowns, camera: Camera, render: Render
) -> tuple[Rim, Array, Array]:
    """The rim, and for the surface's vertices the colours [N, 3] that they should have, with weights [N]."""
    vertices, _ = forward(model, _params(model, unknowns))
    faces = jnp.asarray(model.faces)
    pixels, depth = geometry.project(camera, vertices)
    face_id, _, front = render(pixels, depth, faces, camera.height, camera.width)
    rotation = camera.world_to_camera[:3, :3]
    normals = jnp.matmul(geometry.vertex_normals(vertices, faces), rotation.T, precision="highest")
    rim = find_rim(pixels, normals, faces, face_id, still.picture.alpha, still.rim)

    chosen = still.surface.vertices
    place = pixels[chosen]
    column = jnp.clip(place[:, 0].astype(jnp.int32), 0, camera.width - 1)
    row = jnp.clip(place[:, 1].astype(jnp.int32), 0, camera.height - 1)
    local = geometry.cameras.to_camera(camera, vertices[chosen])
    toward = -jnp.sum(normals[chosen] * local, -1) / jnp.linalg.norm(local, axis=-1)
    person = still.picture.alpha[row, column]
    seen = (depth[chosen] < front[row, column] + SLACK) & (person > 0.9)
    trust = jnp.clip((toward - FACING[0]) / (FACING[1] - FACING[0]), 0.0, 1.0) * seen
    shown = sample(still.picture.colours, place)

    def believe(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        # What is far from the skin's colours (hair, a hand, glasses) tells nothing of them.
        colours = expected(shown, normals[chosen], still.surface.parts, state[1])
        away = jnp.linalg.norm(shown - colours, axis=-1)
        return colours, trust / (1.0 + (away / WRONG_COLOUR) ** 2) ** 2

    colours, weights = jax.lax.fori_loop(0, 4, believe, (shown, trust))
    return rim, colours, weights
