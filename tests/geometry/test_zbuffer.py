"""zbuffer against a brute-force float64 numpy version that shares no code with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.geometry.zbuffer import zbuffer


def brute_force(pixels, depth, faces, height, width):
    """Every face at every pixel in float64; also how far the nearest decision was from flipping."""
    pixels, depth = np.asarray(pixels, np.float64), np.asarray(depth, np.float64)
    y, x = np.mgrid[:height, :width] + 0.5
    face_id = np.full((height, width), -1)
    best = np.full((height, width), np.inf)
    weights = np.zeros((height, width, 3))
    edge_distance = np.full((height, width), np.inf)
    for index, face in enumerate(np.asarray(faces)):
        a, b, c = pixels[face]
        z = depth[face]
        area = cross(b - a, c - a)
        if area >= 0 or (z <= 0).any():  # the image's y points down: front faces turn clockwise
            continue
        grid = np.stack([x, y], -1)
        share = np.stack([cross(p - grid, q - grid) for p, q in ((b, c), (c, a), (a, b))], -1) / area
        lengths = np.array([np.linalg.norm(q - p) for p, q in ((b, c), (c, a), (a, b))])
        edge_distance = np.minimum(edge_distance, np.abs(share * area / lengths).min(-1))
        inverse = share @ (1 / z)
        with np.errstate(divide="ignore"):
            here = 1 / inverse
        closer = (share >= 0).all(-1) & (here < best)
        best[closer] = here[closer]
        face_id[closer] = index
        weights[closer] = ((share / z) / inverse[..., None])[closer]
    return face_id, weights, best, edge_distance


def scene(seed, count, scale):
    random = np.random.default_rng(seed)
    center = random.uniform(-8, 60, (count, 1, 2))
    pixels = (center + random.normal(size=(count, 3, 2)) * scale).reshape(-1, 2).astype(np.float32)
    depth = random.uniform(0.5, 3, count * 3).astype(np.float32)
    return pixels, depth, np.arange(count * 3, dtype=np.int32).reshape(count, 3)


draw = jax.jit(zbuffer, static_argnames=("height", "width", "chunk"))
SCENES = [(300, 1.5, 50, 47), (60, 25.0, 31, 64), (12, 400.0, 40, 40)]


def cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


@pytest.mark.parametrize(("count", "scale", "height", "width"), SCENES)
def test_agrees_with_brute_force(count, scale, height, width):
    pixels, depth, faces = scene(count, count, scale)
    face_id, weights, z = draw(pixels, depth, faces, height, width)
    want_id, want_weights, want_z, edge_distance = brute_force(pixels, depth, faces, height, width)
    sure = edge_distance > 1e-3
    assert sure.mean() > 0.9
    agree = (np.asarray(face_id) == want_id) & sure
    assert agree[sure].mean() > 0.999  # the rest: two faces crossing within rounding
    covered = agree & (want_id >= 0)
    assert covered.sum() > 100
    assert np.allclose(np.asarray(z)[covered], want_z[covered], rtol=2e-4)
    assert np.allclose(np.asarray(weights)[covered], want_weights[covered], atol=2e-3)
    assert np.isinf(np.asarray(z)[agree & (want_id < 0)]).all()


def test_chunks_do_not_change_the_image():
    pixels, depth, faces = scene(3, 200, 12.0)
    small = draw(pixels, depth, faces, 48, 48, chunk=64)
    large = draw(pixels, depth, faces, 48, 48, chunk=8192)
    for a, b in zip(small, large, strict=True):
        assert np.array_equal(a, b)


def test_closed_fan_has_no_cracks():
    random = np.random.default_rng(0)
    for _ in range(10):
        angle = np.sort(random.uniform(0, 2 * np.pi, 40))[::-1]  # counter-clockwise seen with y up
        rim = 24 + np.stack([np.cos(angle), np.sin(angle)], -1) * random.uniform(60, 90, (40, 1))
        pixels = np.concatenate([random.uniform(20, 28, (1, 2)), rim]).astype(np.float32)
        ring = np.arange(40)
        faces = np.stack([np.zeros(40, int), ring + 1, (ring + 1) % 40 + 1], -1).astype(np.int32)
        face_id, _, _ = draw(pixels, np.ones(41, np.float32), faces, 48, 48)
        gap = np.max(np.diff(np.concatenate([angle[::-1], [angle.min() + 2 * np.pi]])))
        if gap < 0.9 * np.pi:
            assert (np.asarray(face_id) >= 0).all()


def test_ties_take_the_lowest_face_and_back_faces_vanish():
    pixels = np.array([[0, 0], [0, 16], [16, 0], [0, 0], [0, 16], [16, 0]], np.float32)
    faces = np.array([[2, 1, 0], [3, 4, 5], [0, 1, 2]], np.int32)  # a back face, then two equal front faces
    face_id, _, _ = draw(pixels, np.full(6, 2.0, np.float32), faces, 16, 16)
    assert np.asarray(face_id)[2, 2] == 1
    behind, _, _ = draw(pixels, np.full(6, -2.0, np.float32), faces, 16, 16)
    assert (np.asarray(behind) == -1).all()


def test_vmaps():
    pixels, depth, faces = scene(5, 50, 10.0)
    both = jnp.stack([pixels, pixels + 3.0]), jnp.stack([depth, depth])
    ids, _, _ = jax.vmap(lambda p, d: draw(p, d, faces, 32, 32))(*both)
    for k in range(2):
        assert np.array_equal(ids[k], draw(both[0][k], both[1][k], faces, 32, 32)[0])


def test_wrong_shapes_say_so():
    pixels, depth, faces = scene(0, 3, 1.0)
    with pytest.raises(ValueError, match="vmap"):
        zbuffer(pixels[None], depth, faces, 8, 8)
    with pytest.raises(ValueError, match="faces"):
        zbuffer(pixels, depth, faces[:, :2], 8, 8)
