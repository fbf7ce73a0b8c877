"""How colours are kept: as bytes, and as the constant spherical harmonic of a Gaussian."""

from __future__ import annotations

import numpy as np

from zero1a_jax.types import Array

SH_BASIS_0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))


def from_sh(sh: Array) -> Array:
    """The colours, of any shape, that constant coefficients of spherical harmonics stand for; not clipped."""
    return sh * SH_BASIS_0 + 0.5


def to_sh(colours: Array) -> Array:
    """The constant coefficients of spherical harmonics, of any shape, that stand for colours."""
    return (colours - 0.5) / SH_BASIS_0


def as_uint8(values: Array) -> np.ndarray:
    """Values in 0..1, of any shape, as bytes on the host: clipped, rounded, NaN as 0. Bytes stay bytes."""
    values = np.asarray(values)
    if values.dtype == np.uint8:
        return values
    wide = values.astype(np.result_type(values, np.float32))  # else half precision would be rounded twice
    return np.rint(np.clip(np.nan_to_num(wide), 0, 1) * 255).astype(np.uint8)
