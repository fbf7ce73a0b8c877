"""Colours of the texture prior corrected by the portrait's: by place and by material."""

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.avatar.retouch import matched

SKIN, HAIR = np.array([0.6, 0.4, 0.3]), np.array([0.5, 0.5, 0.5])


def line(count=80):
    """Skin at even places of a line of 16 cm, grey hair at odd ones; the first half is shown."""
    places = np.zeros((count, 3), np.float32)
    places[:, 0] = np.linspace(0, 0.16, count)
    hair = np.arange(count) % 2 == 1
    truth = np.where(hair[:, None], HAIR, SKIN) * np.linspace(1.0, 0.7, count)[:, None]
    return places, hair, truth.astype(np.float32), (np.arange(count) < count // 2).astype(np.float32)


def test_a_tint_seen_is_taken_off_where_nothing_is_seen():
    places, hair, truth, trust = line()
    tints = np.where(hair[:, None], [0.95, 0.95, 1.15], [1.0, 1.08, 0.8])  # a bluish hair, an olive skin
    said = (truth * tints).astype(np.float32)
    found = jax.jit(matched)(said, places, truth * trust[:, None], trust, np.arange(0, 80))
    before, after = np.abs(said - truth), np.abs(np.asarray(found) - truth)
    hidden = trust == 0
    for material in (hair, ~hair):
        assert after[hidden & material].mean() < 0.35 * before[hidden & material].mean()
    assert after[~hidden].mean() < 0.35 * before[~hidden].mean()


def test_what_nothing_is_known_of_stays():
    places, _, truth, _ = line()
    found = jax.jit(matched)(truth, places, jnp.zeros_like(truth), jnp.zeros(80), np.arange(0, 80, 2))
    np.testing.assert_allclose(found, truth, atol=1e-5)
