"""Colours as bytes and as spherical harmonics."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.image.colour import SH_BASIS_0, as_uint8, from_sh, to_sh


def test_harmonics_go_there_and_back():
    assert SH_BASIS_0 == pytest.approx(0.5 / math.sqrt(math.pi), rel=1e-15)
    colours = np.random.default_rng(0).uniform(size=(7, 3))
    np.testing.assert_allclose(from_sh(to_sh(colours)), colours, atol=1e-15)
    assert not np.any(to_sh(np.full(3, 0.5)))


def test_bytes():
    every = np.arange(256, dtype=np.uint8)
    assert as_uint8(every) is every
    for kind in (np.float32, np.float64):
        np.testing.assert_array_equal(as_uint8(every.astype(kind) / 255), every)
    np.testing.assert_array_equal(
        as_uint8([-1.0, 2.0, np.nan, np.inf, 0.49 / 255, 0.51 / 255]), [0, 255, 0, 255, 0, 1]
    )
    np.testing.assert_array_equal(as_uint8(jnp.linspace(0, 1, 3)), [0, 128, 255])


def test_half_precision_is_rounded_once():
    """The product by 255 is not taken in bfloat16, which has 8 bits."""
    values = jnp.asarray(np.linspace(0, 1, 999), jnp.bfloat16)
    np.testing.assert_array_equal(as_uint8(values), np.rint(np.asarray(values, np.float64) * 255))
