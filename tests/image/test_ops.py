"""Resizing, cropping, colour curves, compositing and PSNR on pictures with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from zero1a_jax.image import composite, crop, linear, psnr, resize, srgb


def picture(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def test_srgb_curve():
    values = np.linspace(0, 1, 101).astype(np.float32)
    np.testing.assert_allclose(srgb(linear(values)), values, atol=1e-6)
    np.testing.assert_allclose(linear(np.float32(0.5)), 0.21404114, rtol=1e-5)
    np.testing.assert_allclose(linear(np.float32(0.04)), 0.04 / 12.92, rtol=1e-5)
    assert bool(jnp.all(jnp.isfinite(jax.vmap(jax.grad(srgb))(jnp.array([0.0, 1e-4, 0.5, 1.0])))))


def test_resize_agrees_with_pillow_when_it_shrinks():
    image = picture(2, 40, 60, 3)
    found = resize(image, 20, 15)
    assert found.shape == (2, 20, 15, 3)
    for c in range(3):
        truth = np.asarray(Image.fromarray(image[1, ..., c]).resize((15, 20), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(found[1, ..., c], truth, atol=1e-5)
    with pytest.raises(ValueError, match="channel axis"):
        resize(image[0, ..., 0], 20, 15)


def test_crop_of_the_whole_is_resize():
    image = picture(3, 16, 24, 3)
    box = np.tile(np.array([0, 0, 24, 16], np.float32), (3, 1))
    np.testing.assert_allclose(crop(image, box, (8, 12)), resize(image, 8, 12), atol=1e-6)
    np.testing.assert_allclose(crop(image, box, (16, 24)), image, atol=1e-6)


def test_crop_takes_whole_pixels_and_fills_outside():
    image = picture(16, 24, 3)
    np.testing.assert_allclose(crop(image, np.array([5, 3, 13, 11.0]), 8), image[3:11, 5:13], atol=1e-6)
    outside = crop(
        image, np.array([-8, 4, 8, 12], np.float32), (8, 16), fill=np.array([1.0, 0.5, 0.0], np.float32)
    )
    np.testing.assert_allclose(outside[:, 8:], image[4:12, :8], atol=1e-6)
    np.testing.assert_allclose(outside[:, :8], np.broadcast_to([1.0, 0.5, 0.0], (8, 8, 3)), atol=1e-6)
    with pytest.raises(ValueError, match="one box of 4 numbers"):
        crop(image, np.zeros((2, 4)), 8)


def test_crop_is_differentiable_in_image_and_box():
    y, x = np.mgrid[:32, :32] + 0.5
    weight = picture(10, 10, 3, seed=1)
    with jax.enable_x64(True):
        image = jnp.asarray(np.stack([x * x, x * y, y * y], -1) / 1000)
        box = jnp.array([6.3, 7.1, 20.2, 21.9])

        @jax.jit
        def total(i, b):
            return jnp.sum(weight * crop(i, b, 10))

        of_image, of_box = jax.jit(jax.grad(total, (0, 1)))(image, box)
        step = 1e-5
        ends = [(total(image, box + step * e), total(image, box - step * e)) for e in np.eye(4)]
        np.testing.assert_allclose(of_box, [(up - down) / (2 * step) for up, down in ends], rtol=1e-4)
        assert float(of_image[12, 12].min()) > 0 and float(jnp.abs(of_image[:4]).max()) == 0


def test_composite():
    rgb, alpha = picture(2, 4, 5, 3), picture(2, 4, 5, seed=1)
    found = composite(rgb, alpha, np.array([1.0, 0.0, 0.5], np.float32))
    np.testing.assert_allclose(
        found, rgb * alpha[..., None] + (1 - alpha[..., None]) * [1, 0, 0.5], atol=1e-6
    )


def test_psnr():
    a = np.full((2, 8, 8, 3), 0.5, np.float32)
    b = a.copy()
    b[0, :4] += 0.1
    np.testing.assert_allclose(psnr(a, b)[0], -10 * np.log10(0.005), rtol=1e-5)
    mask = np.zeros((2, 8, 8), np.float32)
    mask[:, :4] = 1
    np.testing.assert_allclose(psnr(a, b, mask), [20.0, 100.0], rtol=1e-5)
    np.testing.assert_allclose(psnr(a, b, 0 * mask), [100.0, 100.0])
