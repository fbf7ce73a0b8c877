"""Properties that hold for every scene. Shapes are fixed, so that nothing is compiled twice."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero1a_jax import geometry, rasterizer

SIZE, DEGREE = 24, 1  # what `program` is compiled for
PER_GAUSSIAN = ("means", "log_scales", "quats", "sh", "opacity_logits", "screen_offset", "features")
CROP = (12, 20)

few = functools.partial(settings, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 10_000)


def _place(scene, i, depth):
    """Moves a Gaussian along the line of sight to this camera z."""
    view = scene["world_to_camera"]
    now = scene["means"][i] @ view[2, :3] + view[2, 3]
    scene["means"][i] += (depth - now) * view[2, :3]


def _set(key, value):
    def change(scene, i):
        scene[key][i] = value

    return change


# What a Gaussian can be made into.
TROUBLE = {
    "plain": lambda scene, i: None,
    "zero scale": _set("log_scales", -np.inf),
    "huge scale": _set("log_scales", 100.0),
    "needle": _set("log_scales", (3.0, -30.0, -30.0)),
    "mixed scale": _set("log_scales", (40.0, -200.0, 3.0)),
    "behind": lambda scene, i: _place(scene, i, -0.5),
    "at the near plane": lambda scene, i: _place(scene, i, 0.01),
    "just beyond the near plane": lambda scene, i: _place(scene, i, 0.010001),
    "at the camera": lambda scene, i: _set("means", np.linalg.inv(scene["world_to_camera"])[:3, 3])(scene, i),
    "at the depth of the first": lambda scene, i: _place(scene, i, 1.5),
    "far away": _set("means", 1e6),
    "opacity 0": _set("opacity_logits", -np.inf),
    "opacity 1": _set("opacity_logits", np.inf),
    "no rotation": _set("quats", 0.0),
}


@few(max_examples=40)
@given(seeds, st.lists(st.sampled_from(sorted(TROUBLE)), min_size=SIZE, max_size=SIZE))
def test_values_and_gradients_are_finite(program, seed, kinds):
    scene = program.scene(seed)
    for i, kind in enumerate(kinds):
        TROUBLE[kind](scene, i)
    results = program(scene)
    bad = [jax.tree_util.keystr(k) for k, v in jax.tree.leaves_with_path(results) if not np.isfinite(v).all()]
    assert bad == []
    unseen = ("behind", "at the camera", "opacity 0")
    hidden = np.array([kind in unseen for kind in kinds])
    assert not results[1].radii[hidden].any()


@pytest.mark.parametrize("kind", sorted(TROUBLE))
def test_each_trouble_alone_is_finite(program, kind):
    scene = program.scene(1)
    for i in range(SIZE):
        TROUBLE[kind](scene, i)
    assert all(np.isfinite(value).all() for value in jax.tree.leaves(program(scene)))


@few(max_examples=10)
@given(seeds, st.permutations(range(SIZE)))
def test_order_does_not_matter_at_distinct_depths(program, seed, order):
    scene = program.scene(seed)
    view = scene["world_to_camera"]
    depth = np.sort(np.float32(scene["means"] @ view[2, :3]))
    if np.diff(depth).min() < 1e-5:  # float32 could order them otherwise
        return
    order = np.array(order)
    _, out, seen, gradients = program(scene)
    _, other, seen_other, others = program(scene | {k: scene[k][order] for k in PER_GAUSSIAN})
    for name in ("rgb", "alpha", "depth", "features"):
        np.testing.assert_allclose(getattr(out, name), getattr(other, name), atol=1e-6)
    np.testing.assert_array_equal(seen.counts, seen_other.counts)
    for key in PER_GAUSSIAN:
        scale = np.abs(gradients[key]).max()
        np.testing.assert_allclose(gradients[key][order], others[key], atol=1e-4 * scale)


@few(max_examples=10)
@given(seeds)
def test_ties_in_depth_go_by_index(program, reference_images, seed):
    scene = program.scene(seed)
    scene["world_to_camera"][:3, :3] = np.eye(3)  # so that equal z is equal depth, exactly
    scene["means"][:, 2] = np.random.default_rng(seed).choice([-0.25, 0.0, 0.125], SIZE)
    _, out, _, _ = program(scene)
    truth = reference_images(scene, *program.shape)
    difference = np.abs(program.stack(out) - program.stack(truth))
    assert difference.max() < 1e-2 and (difference > 1e-4).mean() < 2e-3


@functools.cache
def _cropped():
    @jax.jit
    def draw(gaussians, camera, corner, background, features):
        part = geometry.crop(camera, corner[0], corner[1], *CROP)
        options = {"background": background, "features": features, "capacity": 480}
        return rasterizer.render(gaussians, part, **options)

    return draw


@few(max_examples=15)
@given(seeds, st.integers(0, 28 - CROP[0]), st.integers(0, 40 - CROP[1]))
def test_a_crop_equals_the_crop_of_the_whole(program, seed, top, left):
    scene = program.scene(seed)
    scene["means"][::3] *= 4  # beyond the border, where the projection's guard acts
    scene["log_scales"][::3] += 1.5
    _, whole, _, _ = program(scene)
    gaussians, camera, background, _, features = program.split(scene)
    part = _cropped()(gaussians, camera, jnp.array([top, left]), background, features)
    cut = program.stack(whole)[top : top + CROP[0], left : left + CROP[1]]
    difference = np.abs(program.stack(part) - cut)
    # A pixel can flip a threshold in float32.
    assert difference.max() < 1e-2 and (difference > 2e-5).mean() < 2e-3


@functools.cache
def _short(capacity):
    @jax.jit
    def draw(gaussians, camera, background):
        out = rasterizer.render(gaussians, camera, background=background, capacity=capacity)
        return out, rasterizer.count_intersections(gaussians, camera)

    return draw


@few(max_examples=15)
@given(seeds, st.floats(-1.5, 1.0))
def test_overflow_is_never_silent(program, seed, larger):
    scene = program.scene(seed)
    scene["log_scales"] += larger
    _, full, seen, _ = program(scene)
    gaussians, camera, background, *_ = program.split(scene)
    short, needed = _short(150)(gaussians, camera, background)
    assert full.overflow == seen.overflow == 0
    assert short.overflow == max(0, int(needed) - 150)
    if short.overflow == 0:
        np.testing.assert_allclose(short.rgb, full.rgb, atol=1e-6)
