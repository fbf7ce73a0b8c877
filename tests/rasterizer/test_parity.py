"""Against float64 reference renderings and gradients (gsplat's semantics); any sizes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import rasterizer
from zero1a_jax.types import Camera, Gaussians

FIELDS = ("means", "log_scales", "quats", "sh", "opacity_logits")
# Interpreted, Pallas takes its time to compile: one case of it belongs to the fast suite.
CASES = [
    pytest.param(
        *case, marks=[] if case[0] == "xla" or case == ("pallas", "small", True) else pytest.mark.slow
    )
    for case in itertools.product(("xla", "pallas"), ("small", "head"), (False, True))
]


@pytest.mark.parity
@pytest.mark.parametrize(("implementation", "name", "antialiased"), CASES)
def test_images_and_gradients(reference, name, antialiased, implementation):
    truth = reference(f"rasterizer_{name}.npz")
    matrix = truth["intrinsics"]
    focal = np.stack([matrix[:, 0, 0], matrix[:, 1, 1]], 1)
    height, width = int(truth["height"]), int(truth["width"])
    cotangents = [jnp.asarray(truth[f"cotangent_{k}"]) for k in ("rgb", "alpha", "depth")]

    def loss(gaussians, background, world_to_camera):
        camera = Camera(world_to_camera, jnp.asarray(focal), jnp.asarray(matrix[:, :2, 2]), height, width)
        options = {"antialiased": antialiased, "implementation": implementation}
        out = rasterizer.render(gaussians, camera, background=background, **options)
        images = (out.rgb, out.alpha, out.depth)
        return sum(jnp.sum(c * v) for c, v in zip(cotangents, images, strict=True)), (images, out.overflow)

    gaussians = Gaussians(**{k: jnp.asarray(truth[k]) for k in FIELDS})
    arguments = (gaussians, jnp.asarray(truth["background"]), jnp.asarray(truth["world_to_camera"]))
    gradients, (images, overflow) = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*arguments)
    prefix = "antialiased_" if antialiased else ""

    assert not overflow.any()
    for key, image in zip(("rgb", "alpha", "depth_accumulated"), images, strict=True):
        difference = np.abs(np.asarray(image) - truth[prefix + key])
        # A pixel can flip a threshold in float32.
        assert difference.max() < 1e-2, key
        assert (difference > 1e-4).mean() <= 2e-3, key
    named = {k: getattr(gradients[0], k) for k in FIELDS}
    named |= {"background": gradients[1], "world_to_camera": gradients[2]}
    for key, value in named.items():
        expected = truth[f"{prefix}grad_{key}"]
        assert np.abs(np.asarray(value) - expected).max() <= 2e-3 * np.abs(expected).max(), key
