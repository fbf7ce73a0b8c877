"""What render() and inspect() give beside colours, against an independent float64 rasterizer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import rasterizer
from zero1a_jax.types import Render

_ARGUMENTS = ("means", "log_scales", "quats", "sh", "opacity_logits", "world_to_camera", "focal", "center")


def _visible_scene(program, seed):
    """With so few, so faint Gaussians no transmittance would fall to a half."""
    scene = program.scene(seed)
    return scene | {"opacity_logits": scene["opacity_logits"] + 1.5, "log_scales": scene["log_scales"] + 0.4}


def test_images_and_their_gradients(program, reference_images):
    scene = program.scene(3)

    def truth(changed):
        return program.stack(reference_images(changed, *program.shape))

    _, out, _, gradients = program(scene)
    assert out.overflow == 0
    assert np.abs(program.stack(out) - truth(scene)).max() < 2e-5
    r = np.random.default_rng(0)
    for key in (*_ARGUMENTS, "background", "features"):
        step = 1e-7
        expected, got = [], []
        for _ in range(6):
            direction = r.normal(size=scene[key].shape)
            far, near = (truth(scene | {key: scene[key] + s * direction}) for s in (step, -step))
            expected.append(np.sum((far - near) * program.cotangent) / (2 * step))
            got.append(np.sum(direction * np.asarray(gradients[key], np.float64)))
        assert np.abs(np.subtract(got, expected)).max() < 2e-3 * np.abs(expected).max(), key


def test_absolute_gradient_sums_each_pixels_own(program, reference_images):
    scene = program.scene(4)
    got = program(scene)[-1]["screen_offset"]
    expected, step = np.zeros_like(scene["screen_offset"]), 1e-6
    for index in np.ndindex(expected.shape):
        sides = []
        for sign in (1, -1):
            offset = scene["screen_offset"].copy()
            offset[index] += sign * step
            images = program.stack(reference_images(scene | {"screen_offset": offset}, *program.shape))
            sides.append((images * program.cotangent).sum(-1))
        difference = np.abs(sides[0] - sides[1]) / (2 * step)
        # A step across the threshold of 1/255 is no derivative.
        expected[index] = np.where(difference < 100, difference, 0).sum()
    assert np.abs(got - expected).max() < 2e-3 * expected.max()


@pytest.mark.parametrize(
    "culling", [{}, {"near": 1.45}, {"far": 1.5}, {"near": 1.4, "far": 1.6, "radius_clip": 10.0}]
)
def test_planes_clip_median_depth_and_counts(program, reference_images, culling):
    scene = _visible_scene(program, 5)
    _, out, seen, _ = program(scene, **culling)
    truth = reference_images(scene, *program.shape, **culling)
    assert np.abs(program.stack(out) - program.stack(truth)).max() < 2e-5
    shown = truth["median_depth"] > 0
    assert shown.any() and not shown.all()
    # A pixel can flip a threshold in float32.
    assert (np.abs(seen.median_depth - truth["median_depth"]) > 1e-5).mean() < 2e-3
    assert (seen.counts != truth["counts"]).mean() < 2e-3
    assert seen.counts.dtype == jnp.int32 and truth["counts"].max() > 3
    depth = np.asarray(rasterizer.expected_depth(out))
    covered = truth["alpha"] > 0
    np.testing.assert_allclose(
        depth[covered], (truth["depth"] / truth["alpha"].clip(1e-9))[covered], rtol=1e-4
    )
    assert not depth[~covered].any()


def test_expected_depth_has_a_finite_gradient_where_nothing_is():
    def total(alpha):
        render = Render(jnp.zeros((1, 2, 3)), alpha, jnp.array([[0.0, 1.0]]), jnp.zeros(0), jnp.int32(0))
        return rasterizer.expected_depth(render).sum()

    np.testing.assert_allclose(jax.grad(total)(jnp.array([[0.0, 0.5]])), [[0.0, -4.0]])


def test_batches_equal_a_loop(program):
    """Cameras of one batch, each with its own features, for both functions."""
    scenes = [program.scene(seed) for seed in (6, 7)]
    shared = {k: scenes[0][k] for k in ("means", "log_scales", "quats", "sh", "opacity_logits", "background")}
    parts = [program.split(scene | shared) for scene in scenes]
    cameras, features = (jax.tree.map(lambda *x: jnp.stack(x), *(p[i] for p in parts)) for i in (1, 4))

    @jax.jit
    def draw(gaussians, cameras, background, features):
        out = rasterizer.render(gaussians, cameras, background=background, features=features, capacity=480)
        return out, rasterizer.inspect(gaussians, cameras, capacity=480)

    several = draw(parts[0][0], cameras, parts[0][2], features)
    assert several[0].features.shape == (2, *program.shape, features.shape[-1])
    for i, scene in enumerate(scenes):
        single = program(scene | shared)[1:3]
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, 1e-5, 2e-6), several, single)


def test_normals(program):
    gaussians, camera, *_ = program.split(program.scene(8))
    gaussians = gaussians.replace(log_scales=jnp.log(jnp.full((24, 3), 0.1)).at[:, 1].set(-5.0))
    world, local = (np.asarray(rasterizer.normals(gaussians, camera, frame=f)) for f in ("world", "camera"))
    w, x, y, z = np.asarray(gaussians.quats / jnp.linalg.norm(gaussians.quats, axis=1, keepdims=True)).T
    axis = np.stack(
        [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], 1
    )  # R's second column
    np.testing.assert_allclose(np.abs(np.sum(world * axis, 1)), 1, atol=1e-5)
    view = np.asarray(camera.world_to_camera)
    np.testing.assert_allclose(local, world @ view[:3, :3].T, atol=1e-5)
    seen_from = np.asarray(gaussians.means) @ view[:3, :3].T + view[:3, 3]
    assert (np.sum(local * seen_from, 1) < 0).all()
    batch = jax.tree.map(lambda v: jnp.stack([v, v]), camera)
    np.testing.assert_allclose(rasterizer.normals(gaussians, batch)[1], local, atol=1e-6)
    with pytest.raises(ValueError, match="frame"):
        rasterizer.normals(gaussians, camera, frame="image")


def test_pallas_renders_features(program):
    gaussians, camera, background, _, features = program.split(program.scene(9))
    options = {"background": background, "features": features, "capacity": 480}
    one, other = (
        jax.jit(lambda g, i=i: rasterizer.render(g, camera, implementation=i, **options))(gaussians)
        for i in ("xla", "pallas")
    )
    np.testing.assert_allclose(one.features, other.features, atol=3e-6)
    np.testing.assert_allclose(one.rgb, other.rgb, atol=3e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": jnp.zeros((3, 2))}, "features"),
        ({"features": jnp.zeros((24, 119)), "implementation": "pallas"}, "118 features"),
        ({"absolute_gradient": True}, "screen_offset"),
        (
            {"absolute_gradient": True, "implementation": "pallas", "screen_offset": jnp.zeros((24, 2))},
            "absolute_gradient",
        ),
    ],
)
def test_static_errors_say_what_is_wrong(program, options, message):
    gaussians, camera, background, *_ = program.split(program.scene(10))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda g: rasterizer.render(g, camera, background=background, **options), gaussians)
