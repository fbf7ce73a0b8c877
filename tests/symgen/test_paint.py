"""The textured mesh before the first avatar's frames: portrait, then guess, then what stands beside."""

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import symgen
from zero1a_jax.avatar import texture_prior
from zero1a_jax.flame import frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.types import Portrait

SIZE, GREEN, RED = 64, jnp.array([0.0, 1.0, 0.0]), jnp.array([1.0, 0.0, 0.0])


def test_the_portrait_outranks_the_guess_and_the_mesh_what_is_behind():
    model = procedural_head()
    params = zero_params(model)
    camera = portrait_camera(
        frame_target(model, params.shape), jnp.radians(jnp.array([0.0, 180.0])), jnp.zeros(2), SIZE
    )
    front = jax.tree.map(lambda leaf: leaf[0], camera)
    everywhere = jnp.broadcast_to(GREEN, (SIZE, SIZE, 3))
    portrait = Portrait(everywhere, jnp.ones((SIZE, SIZE)), jnp.zeros((105, 2)), front, params)
    side, count = texture_prior.SIZE, len(model.faces)
    guess = texture_prior.Guess(
        jnp.broadcast_to(RED, (count, 3)), jnp.zeros((count, 3)), jnp.broadcast_to(RED, (side, side, 3))
    )
    behind, thin = jnp.full((2, SIZE, SIZE, 3), 0.25), jnp.full((2, SIZE, SIZE), 0.125)
    flame = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    seen = jax.jit(symgen.seen_by)(portrait, model)
    painted = jax.jit(symgen.paint_over)((behind, thin), guess, seen, model, flame, camera)
    rgb, alpha = np.asarray(painted.rgb), np.asarray(painted.alpha)
    inside, beside = alpha == 1, alpha == 0.125
    assert 0.3 < inside.mean() < 0.7 and beside.mean() > 0.2
    np.testing.assert_array_equal(rgb[beside], 0.25)
    total = rgb[inside].sum(-1)  # green and red alone, darker where there are lashes
    assert total.max() < 1 + 1e-5 and (total > 1 - 1e-5).mean() > 0.95
    assert rgb[0][inside[0], 1].mean() > 0.6 and rgb[1][inside[1], 1].max() < 0.01
    middle = rgb[0, SIZE // 2 - 8 : SIZE // 2 + 8, SIZE // 2 - 8 : SIZE // 2 + 8]
    assert middle[..., 1].mean() > 0.65  # but for what nose and lips hide, and their rims
    for made, alone in zip(
        painted.carried, jax.jit(symgen.carry_over)(seen, model, flame, camera), strict=True
    ):
        np.testing.assert_allclose(made, alone, atol=1e-5)
