"""The pupils: where the eyes are, and that they go where the eyes look."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import flame
from zero1a_jax.image.landmarks import GROUPS


def test_pupils_lie_between_the_lids_and_follow_the_gaze():
    model = flame.procedural_head()
    still = flame.zero_params(model)
    gaze = jnp.zeros((3, 2, 3)).at[1, :, 1].set(0.3).at[2, 0, 1].set(0.3)  # both to +x, then the left alone
    params = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (3, *leaf.shape)), still).replace(eyes=gaze)

    @jax.jit
    def find(params):
        vertices, _ = flame.forward(model, params)
        return flame.pupils(model, vertices), flame.landmarks_mediapipe(model, vertices)

    pupils, points = map(np.asarray, find(params))
    row = {index: i for i, index in enumerate(np.asarray(model.mediapipe_indices).tolist())}
    for eye, group in enumerate((3, 1)):  # the right eye's lids, the left's
        lids = points[0, [row[i] for i in functools.reduce(lambda a, b: a + b, GROUPS[group][1])]]
        assert (lids.min(0)[:2] < pupils[0, eye, :2]).all() and (pupils[0, eye, :2] < lids.max(0)[:2]).all()
    moved = pupils - pupils[0]
    assert (moved[1, :, 0] > 2e-3).all()
    np.testing.assert_allclose(moved[2], [[0, 0, 0], moved[1, 1]], atol=1e-6)
