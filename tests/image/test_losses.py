"""Image losses against independent float64 code, masks, and gradients that stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import convolve1d, correlate

from zero1a_jax.image import dssim_multiscale, l1, lpips
from zero1a_jax.image import ssim as plain_ssim

ssim = jax.jit(plain_ssim)


def pair(*shape, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.uniform(size=shape)
    return a.astype(np.float32), np.clip(a + 0.2 * rng.normal(size=shape), 0, 1).astype(np.float32)


def ssim_map(a, b):
    """SSIM of one channel after Wang et al. 2004 in float64, whole windows only."""
    window = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window /= window.sum()

    def blur(x):
        return convolve1d(convolve1d(x, window, 0), window, 1)[5:-5, 5:-5]

    a, b = a.astype(np.float64), b.astype(np.float64)
    m, n = blur(a), blur(b)
    va, vb, vab = blur(a * a) - m * m, blur(b * b) - n * n, blur(a * b) - m * n
    return (2 * m * n + 1e-4) * (2 * vab + 9e-4) / ((m * m + n * n + 1e-4) * (va + vb + 9e-4))


def test_l1():
    a, b = pair(2, 5, 7, 3)
    np.testing.assert_allclose(l1(a, b), np.abs(a - b).mean((1, 2, 3)), rtol=1e-5)
    mask = np.zeros((2, 5, 7))
    mask[:, 2, 3:5] = 1
    np.testing.assert_allclose(l1(a, b, mask), np.abs(a - b)[:, 2, 3:5].mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(l1(a, b, 0 * mask), 0)
    with pytest.raises(ValueError, match="one shape"):
        l1(a, b[:1])


def test_ssim():
    a, b = pair(2, 3, 20, 26, 3)
    truth = np.zeros((2, 3))
    for i, j in np.ndindex(2, 3):
        truth[i, j] = np.mean([ssim_map(a[i, j, ..., c], b[i, j, ..., c]) for c in range(3)])
    np.testing.assert_allclose(ssim(a, b), truth, atol=1e-5)
    np.testing.assert_allclose(ssim(a, a), 1.0, atol=1e-6)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(a[..., :10, :, :], b[..., :10, :, :])


def test_masked_ssim_sees_only_the_mask():
    a, b = pair(32, 32, 3)
    same = b.copy()
    same[:, :20] = a[:, :20]
    mask = np.zeros((32, 32))
    mask[:, 6:14] = 1  # windows there end before column 20
    np.testing.assert_allclose(ssim(a, same, mask), 1.0, atol=1e-5)
    assert float(ssim(a, same)) < 0.95


def test_multiscale_dssim_is_the_mean_over_halvings():
    a, b = pair(2, 44, 46, 3)
    halve = lambda x: x.reshape(2, 22, 2, 23, 2, 3).mean((2, 4))  # noqa: E731
    truth = 0.25 * ((1 - ssim(a, b)) + (1 - ssim(halve(a), halve(b))))
    np.testing.assert_allclose(dssim_multiscale(a, b, scales=2), truth, atol=1e-6)
    assert bool(jnp.all(jnp.abs(dssim_multiscale(a, a)) < 1e-6))
    small_a, small_b = pair(12, 12, 3)
    np.testing.assert_allclose(
        dssim_multiscale(small_a, small_b), 0.5 * (1 - ssim(small_a, small_b)), atol=1e-6
    )


def test_dssim_gradient_on_flat_regions_is_finite_and_modest():
    """White on white is most of a portrait: rounding there may not blow up the gradient."""
    target = np.ones((64, 64, 3), np.float32)
    target[20:40, 20:40] = pair(20, 20, 3)[0]
    image = np.ones((64, 64, 3), np.float32)
    image[24:44, 24:44] = 0.5
    gradient = jax.jit(jax.grad(lambda x: dssim_multiscale(x, target)))(image)
    assert bool(jnp.all(jnp.isfinite(gradient))) and float(jnp.abs(gradient).max()) < 0.05
    assert float(jnp.vdot(gradient, target - image)) < 0  # going toward the target helps


def lpips_weights(widths=(3, 4, 5, 6, 7), seed=0):
    rng = np.random.default_rng(seed)
    kernels, biases, before = [], [], 3
    for width, count in zip(widths, (2, 2, 3, 3, 3), strict=True):
        for _ in range(count):
            kernels.append(rng.normal(size=(3, 3, before, width)).astype(np.float32) / np.sqrt(4 * before))
            biases.append(0.1 * rng.normal(size=width).astype(np.float32))
            before = width
    head = [rng.uniform(size=width).astype(np.float32) for width in widths]
    return {"kernels": kernels, "biases": biases, "linear": head}


def lpips_float64(weights, a, b):
    """LPIPS of two pictures by scipy, in float64."""

    def features(image):
        x = (2 * image.astype(np.float64) - 1 - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
        layer = 0
        for block, count in enumerate((2, 2, 3, 3, 3)):
            if block:
                h, w = x.shape[0] // 2, x.shape[1] // 2
                x = x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, -1).max((1, 3))
            for _ in range(count):
                kernel, bias = weights["kernels"][layer].astype(np.float64), weights["biases"][layer]
                planes = [
                    sum(correlate(x[..., i], kernel[..., i, o], mode="constant") for i in range(x.shape[-1]))
                    for o in range(kernel.shape[-1])
                ]
                x = np.maximum(np.stack(planes, -1) + bias, 0)
                layer += 1
            yield x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-20)

    steps = zip(features(a), features(b), weights["linear"], strict=True)
    return sum((((p - q) ** 2) * w).sum(-1).mean() for p, q, w in steps)


def test_lpips():
    weights = lpips_weights()
    a, b = pair(2, 1, 33, 40, 3)
    distance = jax.jit(lpips)
    found = distance(weights, a, b)
    truth = [[lpips_float64(weights, a[i, 0], b[i, 0])] for i in range(2)]
    np.testing.assert_allclose(found, truth, rtol=1e-4)
    np.testing.assert_allclose(distance(weights, a, a), 0, atol=1e-7)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(lpips(weights, x, b))))(a)
    assert bool(jnp.all(jnp.isfinite(gradient)))
    whole = distance(weights, a, b, np.ones((2, 1, 33, 40)))
    np.testing.assert_allclose(whole, found, rtol=1e-5)
    with pytest.raises(ValueError, match="13 kernels"):
        lpips({**weights, "linear": weights["linear"][:4]}, a, b)
    with pytest.raises(ValueError, match="at least 16"):
        lpips(weights, a[..., :8, :, :], b[..., :8, :, :])
