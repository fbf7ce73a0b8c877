"""Real spherical harmonics of degree 0 to 3: view-dependent colour."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.image.colour import SH_BASIS_0
from zero1a_jax.rasterizer.stages import apart
from zero1a_jax.types import Array

_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
_C3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)

COEFFICIENTS = (1, 4, 9, 16)  # by degree


def _basis(x: jax.Array, y: jax.Array, z: jax.Array, count: int) -> list[jax.Array]:
    """The first `count` basis functions at unit vectors, in 3D Gaussian splatting's order and signs."""
    values = [jnp.full_like(x, SH_BASIS_0)]
    xx, yy, zz = x * x, y * y, z * z
    if count >= 4:
        values += [-_C1 * y, _C1 * z, -_C1 * x]
    if count >= 9:
        values += [
            _C2[0] * x * y,
            -_C2[0] * y * z,
            _C2[1] * (2 * zz - xx - yy),
            -_C2[0] * x * z,
            _C2[2] * (xx - yy),
        ]
    if count >= 16:
        values += [
            -_C3[0] * y * (3 * xx - yy),
            _C3[1] * x * y * z,
            -_C3[2] * y * (4 * zz - xx - yy),
            _C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            -_C3[2] * x * (4 * zz - xx - yy),
            _C3[4] * z * (xx - yy),
            -_C3[0] * x * (xx - 3 * yy),
        ]
    return values


@jax.custom_vjp
def columns(values: Array) -> tuple[jax.Array, ...]:
    """The columns of [N, C] as C vectors [N], with a gradient that a CPU computes column by column.

    The gradient of indexing pads, that of lax.split concatenates, and XLA's CPU loops for these compute all
    that leads to them once an element and without vector instructions.
    """
    return tuple(row.reshape(-1) for row in jax.lax.split(values.T, (1,) * values.shape[1], axis=0))


def _from_columns(_: None, gradients: tuple[jax.Array, ...]) -> tuple[jax.Array]:
    return (apart(lambda found: jnp.stack(found, 1), gradients),)


columns.defvjp(lambda values: (columns(values), None), _from_columns)


def colours(sh: Array, means: Array, centre: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Colours seen from a point: max(SH(direction) + 0.5, 0).

    Args: sh [N, K, 3] with K in 1, 4, 9, 16; means [N, 3] and centre [3] in one frame, the direction
    leads from the centre to the mean. Returns red, green and blue, [N] each.
    """
    x, y, z = columns(means - centre)
    # A mean at the camera's centre has no direction; the floor keeps its gradient finite.
    inverse = jax.lax.rsqrt(jnp.maximum(x * x + y * y + z * z, 1e-24))
    basis = _basis(x * inverse, y * inverse, z * inverse, sh.shape[1])
    weights = columns(sh.reshape(-1, 3 * len(basis)))  # of the first value red, green, blue, and so on
    red, green, blue = (
        jnp.maximum(sum(value * w for value, w in zip(basis, weights[c::3], strict=True)) + 0.5, 0.0)
        for c in range(3)
    )
    return red, green, blue
