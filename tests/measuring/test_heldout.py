"""The fixed pairs stay fixed, and cover what they say."""

import numpy as np
import pytest

from zero1a_jax.flame import procedural_head
from zero1a_jax.measuring import heldout


def test_bands_sides_and_ranges():
    pairs = heldout.pairs(procedural_head())
    assert len(pairs.yaw) == heldout.COUNT == 24
    bands = [heldout.band(yaw) for yaw in pairs.yaw]
    assert all(bands.count(f"{low}-{high}") >= 4 for low, high in heldout.BANDS)
    assert sum(30 <= abs(yaw) < 60 for yaw in pairs.yaw) >= 8
    assert min((pairs.yaw > 0).sum(), (pairs.yaw < 0).sum()) >= 9
    assert np.abs(pairs.pitch).max() <= 12
    expression = pairs.flame.expression
    assert ((expression > 0).sum(1) == 3).all() and expression.max() <= 0.9
    assert len({row.tobytes() for row in expression}) == 24
    for name in ("rotation", "neck", "jaw", "translation", "shape"):
        assert not getattr(pairs.flame, name).any()
    np.testing.assert_array_equal(pairs.flame.eyes[:, 0], pairs.flame.eyes[:, 1])


def test_a_shorter_list_is_a_prefix():
    long, short = (heldout.pairs(procedural_head(), count) for count in (12, 5))
    np.testing.assert_array_equal(long.yaw[:5], short.yaw)
    np.testing.assert_array_equal(long.flame.expression[:5], short.flame.expression)


def test_the_pairs_do_not_move():
    """Results of different days are compared: a change here makes old tables void."""
    pairs = heldout.pairs(procedural_head())
    np.testing.assert_allclose(pairs.yaw[:5], [4.8, 19.9, 37.0, 46.0, 64.3], atol=0.06)


def test_what_it_refuses():
    head = procedural_head()
    with pytest.raises(ValueError, match="ARKit"):
        heldout.pairs(head.replace(expression_names=()))
    with pytest.raises(ValueError, match="240"):
        heldout.pairs(head, 241)
