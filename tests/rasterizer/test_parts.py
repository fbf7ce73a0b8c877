"""The stages: harmonics, sorting and counting, at sizes that render() is not tested at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.rasterizer import blend_xla, tiles
from zero1a_jax.rasterizer.harmonics import colours
from zero1a_jax.rasterizer.project import Splats
from zero1a_jax.rasterizer.stages import apart
from zero1a_jax.rasterizer.table import FACTOR, SHAPE_FIELDS, Column


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics(reference_harmonics, degree):
    r = np.random.default_rng(degree)
    means, centre = r.normal(size=(50, 3)), r.normal(size=3)
    sh = r.normal(size=(50, (degree + 1) ** 2, 3))
    directions = means - centre
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = np.maximum(np.einsum("nk,nkc->nc", reference_harmonics(directions, degree), sh) + 0.5, 0)
    got = colours(*(jnp.asarray(v, jnp.float32) for v in (sh, means, centre)))
    np.testing.assert_allclose(np.stack(got, 1), expected, atol=2e-6)


def test_depth_order_is_exact_stable_and_puts_the_invisible_last():
    r = np.random.default_rng(0)
    depth = r.uniform(0.5, 0.5001, 3000).astype(np.float32)
    depth[::7] = depth[0]
    visible = r.uniform(size=3000) > 0.3
    got = np.asarray(tiles.depth_order(jnp.asarray(depth), jnp.asarray(visible)))
    expected = np.argsort(np.where(visible, depth, np.inf), kind="stable")
    np.testing.assert_array_equal(got, expected)


def test_columns_are_those_of_projected_gaussians():
    assert [column.name.lower() for column in Column] == list(Splats._fields)
    assert Splats._fields[FACTOR] == ("l00", "l01", "l11") and Splats._fields[SHAPE_FIELDS] == "red"


@pytest.mark.parametrize("count", [60, 2**20])  # the second does not fit one integer with the rank
def test_sort_by_tile(count):
    r = np.random.default_rng(1)
    size, slots = 2**13, 3000
    order = r.permutation(size).astype(np.int32)
    rank = np.sort(r.integers(0, size, slots)).astype(np.int32)
    tile = r.integers(0, count + 1, slots).astype(np.int32)
    ids, edges = tiles._sort_by_tile(*(jnp.asarray(v) for v in (tile, rank, order)), count)
    expected = np.lexsort((rank, tile))
    kept = int((tile < count).sum())
    np.testing.assert_array_equal(np.asarray(ids)[:kept], order[rank][expected][:kept])
    np.testing.assert_array_equal(edges, np.searchsorted(tile[expected], np.arange(count + 1)))


def test_counts_that_overflow_an_integer_saturate():
    grid = tiles.Grid(8 * 5000, 8 * 5000)
    many = jnp.full(100, 5000, jnp.int32)
    zero = jnp.zeros(100)
    box = tiles.Boxes(zero, zero, many, many, zero)
    assert int(tiles.count(box, grid)) == 2**31 - 1
    starts = np.asarray(tiles._starts(many * many, 10**6, grid.tiles))
    assert starts[0] == 0 and (starts[1:] == 10**6).all()
    few = jnp.full(100, 3, jnp.int32)
    assert int(tiles.count(tiles.Boxes(zero, zero, few, few, zero), grid)) == 900
    np.testing.assert_array_equal(tiles._starts(few, 10**6, grid.tiles), np.arange(100) * 3)


def test_alpha_is_clipped_exactly_and_otherwise_the_exponential():
    """The kernels' polynomial, against float64, down to 1/255 and beyond 0.99."""
    log_opacity = np.log(np.linspace(0.003, 1, 400)).astype(np.float32)
    scale, zero = np.full(400, 0.5, np.float32), np.zeros(400, np.float32)
    fields = np.stack([zero + 2.5, zero + 2.5, scale, zero, scale, log_opacity])[:, None]
    got = np.asarray(blend_xla._alpha(jnp.asarray(fields)))[0]
    squared = (blend_xla._X - 2.5) ** 2 + (blend_xla._Y - 2.5) ** 2
    exact = np.exp(log_opacity.astype(np.float64) - 0.25 * squared)
    faint, full = exact < blend_xla.MIN_ALPHA * (1 - 1e-6), exact > blend_xla.MAX_ALPHA * (1 + 1e-6)
    drawn = (exact > blend_xla.MIN_ALPHA * (1 + 1e-6)) & ~full
    assert faint.any() and full.any() and (got[faint] == 0).all()
    assert (got[full] == blend_xla._CLIPPED).all()
    np.testing.assert_allclose(got[drawn], exact[drawn], rtol=1e-6)


def test_what_is_computed_apart_is_the_same_even_where_it_is_not_a_number():
    values = (jnp.array([jnp.nan, 1.0, 2.0]), jnp.array([3.0, 4.0, jnp.inf]))
    got = jax.jit(lambda v: apart(lambda found: jnp.stack(found, 1), v))(values)
    np.testing.assert_array_equal(got, np.stack(values, 1))
