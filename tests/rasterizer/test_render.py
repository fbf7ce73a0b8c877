"""render() against an independent float64 rasterizer, finite differences, and its own promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import rasterizer
from zero1a_jax.rasterizer.project import Lens, project
from zero1a_jax.types import Camera, Gaussians

SIZE, HEIGHT, WIDTH, DEGREE, CAPACITY = 24, 28, 40, 1, 400
FIELDS = ("means", "log_scales", "quats", "sh", "opacity_logits")
CAMERA = ("world_to_camera", "focal", "center")
_COTANGENT = np.random.default_rng(9).normal(size=(HEIGHT, WIDTH, 5)).astype(np.float32)


def _split(scene):
    scene = {k: jnp.asarray(v, jnp.float32) for k, v in scene.items()}
    camera = Camera(*(scene[k] for k in CAMERA), HEIGHT, WIDTH)
    return Gaussians(**{k: scene[k] for k in FIELDS}), camera, scene["background"], scene["screen_offset"]


def _loss(gaussians, camera, background, offset):
    out = rasterizer.render(gaussians, camera, background=background, screen_offset=offset, capacity=CAPACITY)
    stacked = jnp.concatenate([out.rgb, out.alpha[..., None], out.depth[..., None]], -1)
    return jnp.sum(stacked * _COTANGENT), out


_STEP = jax.jit(jax.value_and_grad(_loss, (0, 1, 2, 3), has_aux=True))
_COUNT = jax.jit(rasterizer.count_intersections)


def test_agrees_with_brute_force_and_finite_differences(make_scene, reference_render):
    scene = make_scene(3, SIZE, DEGREE, HEIGHT, WIDTH)

    def truth(changed):
        rgb, alpha, depth = reference_render(changed, HEIGHT, WIDTH)
        return np.concatenate([rgb, alpha[..., None], depth[..., None]], -1)

    (_, out), gradients = _STEP(*_split(scene))
    got = np.concatenate([out.rgb, out.alpha[..., None], out.depth[..., None]], -1)
    assert np.abs(got - truth(scene)).max() < 2e-5
    assert out.overflow == 0
    named = {k: getattr(gradients[0], k) for k in FIELDS} | {k: getattr(gradients[1], k) for k in CAMERA}
    named |= {"background": gradients[2], "screen_offset": gradients[3]}
    r = np.random.default_rng(0)
    for key, gradient in named.items():
        step = 1e-7
        expected, got = [], []
        for _ in range(8):
            direction = r.normal(size=scene[key].shape)
            far, near = (truth(scene | {key: scene[key] + s * direction}) for s in (step, -step))
            expected.append(np.sum((far - near) * _COTANGENT) / (2 * step))
            got.append(np.sum(direction * np.asarray(gradient, np.float64)))
        assert np.abs(np.subtract(got, expected)).max() < 2e-3 * np.abs(expected).max(), key


def test_order_of_gaussians_does_not_matter(make_scene):
    scene = make_scene(4, SIZE, DEGREE, HEIGHT, WIDTH)
    order = np.random.default_rng(1).permutation(SIZE)
    (value, out), _ = _STEP(*_split(scene))
    shuffled = scene | {k: scene[k][order] for k in (*FIELDS, "screen_offset")}
    (other, out2), _ = _STEP(*_split(shuffled))
    np.testing.assert_array_equal(out.rgb, out2.rgb)
    np.testing.assert_array_equal(out.radii[order], out2.radii)


def test_batch_and_vmap_equal_a_loop(make_scene):
    scenes = [make_scene(seed, SIZE, DEGREE, HEIGHT, WIDTH) for seed in (5, 6, 7)]
    parts = [_split(scene) for scene in scenes]
    gaussians = parts[0][0]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *parts)
    each = [_STEP(gaussians, *part[1:]) for part in parts]
    batched = jax.jit(jax.value_and_grad(lambda *a: _loss(*a), (0, 1, 2, 3), has_aux=True))
    (_, out), gradients = batched(gaussians, *stacked[1:])
    for i, ((_, single), gradient) in enumerate(each):
        np.testing.assert_allclose(out.rgb[i], single.rgb, atol=1e-6)
        np.testing.assert_allclose(out.radii[i], single.radii, rtol=1e-6)
        scale = jnp.abs(gradient[3]).max()
        np.testing.assert_allclose(gradients[3][i], gradient[3], atol=1e-5 * scale)
    for key in FIELDS:
        total = sum(np.asarray(getattr(g[0], key)) for _, g in each)
        np.testing.assert_allclose(getattr(gradients[0], key), total, atol=1e-5 * np.abs(total).max())

    # Everything batched, inside scan and pmap.
    mapped = jax.vmap(lambda *a: jax.value_and_grad(_loss, has_aux=True)(*a))
    program = jax.pmap(lambda a: jax.lax.scan(lambda c, x: (c, mapped(*x)), 0, a)[1])
    (_, out), gradients = program(jax.tree.map(lambda x: x[None, None], stacked))
    for i, part in enumerate(parts):
        (_, single), gradient = _STEP(*part)
        np.testing.assert_allclose(out.rgb[0, 0, i], single.rgb, atol=1e-6)
        scale = jnp.abs(gradient[0].means).max()
        np.testing.assert_allclose(gradients.means[0, 0, i], gradient[0].means, atol=1e-5 * scale)


def test_degenerate_inputs_give_finite_values_and_gradients(make_scene):
    scene = make_scene(8, SIZE, DEGREE, HEIGHT, WIDTH)
    centre = np.linalg.inv(scene["world_to_camera"])[:3, 3]
    back = scene["world_to_camera"][2, :3]
    scene["log_scales"][0] = -np.inf
    scene["log_scales"][1] = 100
    scene["log_scales"][2] = (40, -200, 3)
    scene["means"][3] = centre
    scene["means"][4] = centre - 2 * back
    scene["means"][5] = centre + 0.0101 * back
    scene["log_scales"][5] = 2
    scene["means"][6] = 1e6
    scene["quats"][7] = 0
    scene["opacity_logits"][8:12] = (-np.inf, np.inf, 200, -200)
    scene["means"][13] = scene["means"][14]
    scene["log_scales"][15] = (3, -30, -30)
    gaussians, camera, background, offset = _split(scene)
    (value, out), gradients = _STEP(gaussians, camera, background, offset)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((value, out, gradients)))
    assert out.radii[3] == 0 and out.radii[4] == 0 and out.radii[8] == 0


def test_antialiased_projection_of_degenerate_inputs_is_finite(make_scene):
    scene = make_scene(8, SIZE, DEGREE, HEIGHT, WIDTH)
    scene["log_scales"][:4] = [[-np.inf] * 3, [100] * 3, [40, -200, 3], [3, -30, -30]]
    scene["opacity_logits"][:4] = (-np.inf, np.inf, 200, -200)
    scene["quats"][4] = 0
    gaussians, camera, _, offset = _split(scene)

    def total(gaussians, camera):
        splats, _ = project(gaussians, camera, offset, lens=Lens(True, 0.01, np.inf, 0.0))
        return sum(jnp.sum(jnp.tanh(v)) for v in splats), splats

    gradients, splats = jax.jit(jax.grad(total, (0, 1), has_aux=True))(gaussians, camera)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((gradients, splats)))


def test_nothing_recompiles_within_the_capacity(make_scene):
    counts = []
    _STEP(*_split(make_scene(10, SIZE, DEGREE, HEIGHT, WIDTH)))
    compiled = _STEP._cache_size()
    for hidden, scale in ((18, -3.0), (9, -3.0), (0, -3.0), (0, -1.5)):
        gaussians, *rest = _split(make_scene(10, SIZE, DEGREE, HEIGHT, WIDTH))
        gaussians = gaussians.replace(
            log_scales=gaussians.log_scales * 0 + scale,
            opacity_logits=gaussians.opacity_logits.at[:hidden].set(-30.0),
        )
        intersections = int(_COUNT(gaussians, rest[0]))
        (_, out), _ = _STEP(gaussians, *rest)
        counts.append((int((out.radii > 0).sum()), intersections))
    assert all(last >= 4 * first for first, last in zip(counts[0], counts[-1], strict=True))
    assert _STEP._cache_size() == compiled


def test_overflow_drops_the_farthest_and_is_counted(make_scene):
    size = 64
    scene = make_scene(11, size, 0, HEIGHT, WIDTH)
    scene["log_scales"][:] = np.log(0.02)
    gaussians, camera, background, _ = _split(scene)
    depth = scene["means"] @ scene["world_to_camera"][2, :3] + scene["world_to_camera"][2, 3]
    singles = jax.tree.map(lambda x: x[:, None], gaussians)
    needed = np.asarray(jax.vmap(lambda g: _COUNT(g, camera))(singles))
    total = int(_COUNT(gaussians, camera))
    assert total == needed.sum()
    order = np.argsort(depth)
    nearest = order[:20]
    capacity = int(needed[nearest].sum())
    assert 0 < capacity < total

    @jax.jit
    def draw(gaussians):
        return rasterizer.render(gaussians, camera, background=background, capacity=capacity)

    short = draw(gaussians)
    assert short.overflow == total - capacity
    hidden = jnp.full(size, -30.0).at[nearest].set(gaussians.opacity_logits[nearest])
    near_only = draw(gaussians.replace(opacity_logits=hidden))
    assert near_only.overflow == 0
    np.testing.assert_array_equal(short.rgb, near_only.rgb)
    suggested = rasterizer.suggest_capacity(gaussians, camera)
    assert suggested >= 1.25 * total and suggested & (suggested - 1) == 0


def test_both_capacities_give_the_same_picture(make_scene):
    """A quarter of a generous capacity is tried first: the two ways must agree."""
    gaussians, camera, background, _ = _split(make_scene(12, 200, 0, HEIGHT, WIDTH))
    needed = int(_COUNT(gaussians, camera))
    assert needed > 1024
    out = [
        jax.jit(lambda g, c=c: rasterizer.render(g, camera, background=background, capacity=c))(gaussians)
        for c in (needed, max(4096, 4 * needed))
    ]
    assert not any(o.overflow for o in out)
    np.testing.assert_array_equal(out[0].rgb, out[1].rgb)


def test_no_gaussians():
    gaussians = Gaussians(*(jnp.zeros((0, *s)) for s in ((3,), (3,), (4,), (1, 3), ())))
    camera = Camera(jnp.eye(4)[None], jnp.full((1, 2), 50.0), jnp.full((1, 2), 8.0), 16, 16)
    out = rasterizer.render(gaussians, camera, background=jnp.array([0.1, 0.2, 0.3]))
    assert out.rgb.shape == (1, 16, 16, 3) and out.radii.shape == (1, 0) and out.overflow.shape == (1,)
    np.testing.assert_allclose(out.rgb[0, 3, 4], [0.1, 0.2, 0.3])
    assert not out.alpha.any()
    features = rasterizer.render(
        gaussians, camera, background=jnp.zeros(3), features=jnp.zeros((0, 7))
    ).features
    assert features.shape == (1, 16, 16, 7) and not features.any()
    seen = rasterizer.inspect(gaussians, camera)
    assert seen.median_depth.shape == (1, 16, 16) and not seen.counts.any()
    assert rasterizer.normals(gaussians, camera).shape == (1, 0, 3)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"capacity": 0}, "capacity"),
        ({}, {"capacity": 1.5}, "capacity"),
        ({}, {"implementation": "cuda"}, "implementation"),
        ({}, {"screen_offset": jnp.zeros((3, 2))}, "screen_offset"),
        ({}, {"background": jnp.zeros(4)}, "background"),
        ({"sh": jnp.zeros((SIZE, 5, 3))}, {}, "sh"),
        ({"quats": jnp.zeros((SIZE, 3))}, {}, "quats"),
    ],
)
def test_static_errors_say_what_is_wrong(make_scene, change, options, message):
    gaussians, camera, background, _ = _split(make_scene(14, SIZE, DEGREE, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match=message):
        rasterizer.render(gaussians.replace(**change), camera, **({"background": background} | options))


def test_cameras_must_share_their_leading_axes(make_scene):
    gaussians, camera, background, _ = _split(make_scene(15, SIZE, DEGREE, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="camera"):
        rasterizer.render(gaussians, camera.replace(focal=camera.focal[None]), background=background)
