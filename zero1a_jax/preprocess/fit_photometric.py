"""The colours that a posed head should show: skin under spherical-harmonics light, and parts of own colour.

Skin has one colour, so that light times skin is nine numbers a channel (Ramamoorthi and Hanrahan 2001);
lips, brows, whites and irises reflect a share of it. All are found by weighted least squares.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from zero1a_jax.types import Array, FlameModel

PARTS = ("lips", "brows", "sclera", "iris")  # skin is the rest
COUNT = 1200  # vertices whose colours are compared
RIDGE = (0.0, 2.0, 2.0, 2.0, 8.0, 8.0, 8.0, 8.0, 8.0)  # pseudo-observations of no light of that kind
FACING = (0.15, 0.4)  # cosine to the viewer between which a colour's weight rises from 0 to 1


class Surface(NamedTuple):
    """The vertices whose colours are compared."""

    vertices: np.ndarray  # [N] int32
    parts: np.ndarray  # [N, len(PARTS)] 0 or 1


def surface(model: FlameModel) -> Surface | None:
    """An even subset of the face's and ears' vertices; None where the model has no masks to tell them."""
    masks = {name: np.asarray(mask) for name, mask in (model.masks or {}).items()}
    if "face" not in masks:
        return None
    none = np.zeros(len(model.template), bool)
    get = lambda name: masks.get(name, none)  # noqa: E731
    chosen = masks["face"] | get("left_ear") | get("right_ear")
    chosen = chosen & ~get("mouth_interior") & ~get("scalp") & ~get("neck")
    balls = get("left_eyeball") | get("right_eyeball")
    chosen = np.nonzero(chosen | get("sclera") | get("iris") | balls)[0]
    chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, COUNT).astype(int))]
    iris = get("iris") | get("pupil")
    parts = (get("lips"), get("left_brow") | get("right_brow"), (get("sclera") | balls) & ~iris, iris)
    return Surface(chosen.astype(np.int32), np.stack(parts, -1)[chosen].astype(np.float32))


def harmonics(normals: Array) -> Array:
    """The nine spherical harmonics up to degree 2 [P, 9] of unit normals [P, 3], without their constants."""
    x, y, z = normals[:, 0], normals[:, 1], normals[:, 2]
    return jnp.stack([jnp.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1)


def expected(colours: Array, normals: Array, parts: Array, weights: Array) -> Array:
    """Colours [N, 3] that vertices with seen `colours` [N, 3] should have, by one light and few albedos.

    normals [N, 3] unit in the camera's axes, parts [N, P] 0 or 1, weights [N] trust.
    """
    basis = harmonics(normals)
    skin = weights * (1.0 - jnp.max(parts, -1))
    normal = jnp.matmul(basis.T * skin, basis, precision="highest") + jnp.diag(jnp.array(RIDGE) + 1e-3)
    light = jnp.linalg.solve(normal, jnp.matmul(basis.T * skin, colours, precision="highest"))
    shade = jnp.maximum(jnp.matmul(basis, light, precision="highest"), 0.02)
    own = parts * weights[:, None]  # [N, P]
    above = jnp.einsum("np,nc->pc", own, colours * shade, precision="highest")
    below = jnp.einsum("np,nc->pc", own, shade * shade, precision="highest")
    share = jnp.where(below > 0.05, above / jnp.maximum(below, 1e-6), 1.0)  # [P, 3]
    albedo = 1.0 + jnp.einsum("np,pc->nc", parts, share - 1.0, precision="highest")
    return shade * albedo
