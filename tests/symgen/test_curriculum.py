"""The curriculum against a plain Python reading of the method, and the sequences behind it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import symgen
from zero1a_jax.geometry.cameras import position
from zero1a_jax.types import ArkitMap


@dataclasses.dataclass(frozen=True)
class Numbers:
    frames: int = 5
    spatial_samples: int = 4
    synthetic_samples: int = 2
    real_samples: int = 3
    view_interval: int = 7
    synthetic_start: int = 20
    real_start: int = 33
    progressive: bool = True
    spatial: bool = True
    temporal: bool = True
    max_yaw: float = 70.0
    max_pitch: float = 10.0
    temporal_yaw: float = 15.0
    base_intensity: float = 0.8
    synthetic_intensity: float = 0.5
    real_intensity: float = 1.2


def expected(step, numbers):
    """docs/method.md, counted from 1: frame i shows view min(i, j), j = min(floor(k / d_s) + 1, n_f)."""
    j = min(step // numbers.view_interval + 1, numbers.frames)
    rows = [[i for i in range(1, numbers.frames + 1)]]
    rows += [[min(i, j) for i in range(1, numbers.frames + 1)]] * numbers.spatial_samples
    rows += [[i for i in range(1, numbers.frames + 1)]] * (numbers.synthetic_samples + numbers.real_samples)
    active = [True] + [True] * numbers.spatial_samples
    active += [step >= numbers.synthetic_start] * numbers.synthetic_samples
    active += [step >= numbers.real_start] * numbers.real_samples
    return np.array(rows) - 1, np.array(active), j


def test_follows_the_method_at_every_step():
    numbers = Numbers()
    plan = jax.jit(lambda step: symgen.plan(step, numbers))
    for step in range(50):
        views, active, j = expected(step, numbers)
        got = plan(step)
        np.testing.assert_array_equal(got.views, views)
        np.testing.assert_array_equal(got.active, active)
        assert got.view_limit == j
    assert plan._cache_size() == 1


def test_boundaries_are_where_the_plan_changes():
    numbers = Numbers()
    plan = jax.jit(lambda step: symgen.plan(step, numbers))
    plans = [[np.asarray(leaf).tolist() for leaf in jax.tree.leaves(plan(step))] for step in range(60)]
    changes = [step for step in range(1, 60) if plans[step] != plans[step - 1]]
    assert symgen.boundaries(numbers, 60) == tuple(changes)


def test_ablations():
    everything = symgen.plan(0, Numbers(progressive=False))
    assert everything.active.all() and (everything.views == np.arange(5)).all()
    alone = symgen.plan(100, Numbers(temporal=False))
    assert alone.active.tolist() == [True] * 5 + [False] * 5
    early = symgen.plan(0, Numbers(spatial=False))
    assert early.active.tolist() == [True] + [False] * 4 + [True] * 2 + [False] * 3
    assert symgen.plan(13, Numbers(spatial=False)).active.sum() == 6
    assert symgen.boundaries(Numbers(spatial=False), 100) == (13,)
    assert symgen.boundaries(Numbers(progressive=False), 100) == ()


@pytest.fixture(scope="module")
def built(fakes):
    model = fakes.sphere_head()
    portrait = fakes.disc_portrait(model)
    return model, portrait, symgen.build_samples(jax.random.key(1), model, portrait, Numbers())


def yaw_of(cameras, index):
    camera = jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), cameras)
    place = np.asarray(position(camera)) - np.array([0.0, -0.005, 0.02])
    return np.degrees(np.arctan2(place[:, 0], place[:, 2]))


def test_portrait_is_slot_0(built):
    _, portrait, samples = built
    np.testing.assert_array_equal(samples.cameras.world_to_camera[0, 3], portrait.camera.world_to_camera)
    assert samples.stage.tolist() == [0, 1, 1, 1, 1, 2, 2, 3, 3, 3]


def test_spatial_paths_go_from_the_front_to_both_sides(built):
    _, _, samples = built
    ends = []
    for index in range(1, 5):
        yaw = yaw_of(samples.cameras, index)
        assert abs(yaw[0]) < 0.5
        steps = np.diff(yaw)
        assert (np.sign(steps) == np.sign(steps[0])).all()
        ends.append(yaw[-1])
        flame = samples.flame.expression[index]
        assert (flame == flame[0]).all()
    assert min(ends) < -0.35 * 70 and max(ends) > 0.35 * 70 and np.abs(ends).max() <= 70.5


def test_each_spatial_sample_has_its_own_arkit_shape(built):
    model, _, samples = built
    on = [
        {model.expression_names[k] for k in np.flatnonzero(samples.flame.expression[index, 0])}
        for index in range(1, 5)
    ]
    assert on[0] == set() and on[1] == {"jawOpen"}
    assert on[2] == {"mouthSmileLeft", "mouthSmileRight"} and on[3] == {"eyeBlinkLeft", "eyeBlinkRight"}


def test_temporal_samples_hold_the_camera_and_move_the_face(built):
    _, _, samples = built
    for index in range(5, 10):
        cameras = samples.cameras.world_to_camera[index]
        assert (cameras == cameras[0]).all()
        assert np.abs(yaw_of(samples.cameras, index)).max() < 16
        assert np.abs(np.diff(samples.flame.expression[index], axis=0)).max() > 0


def test_seed_decides(built):
    model, portrait, samples = built
    again = symgen.build_samples(jax.random.key(1), model, portrait, Numbers())
    other = symgen.build_samples(jax.random.key(2), model, portrait, Numbers())
    for a, b in zip(jax.tree.leaves(samples), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (samples.flame.expression != other.flame.expression).any()
    assert (samples.cameras.world_to_camera != other.cameras.world_to_camera).any()


def test_motions_fill_the_real_slots(built):
    model, portrait, _ = built
    from zero1a_jax.flame import zero_params

    motion = zero_params(model, (7,))
    motion = motion.replace(jaw=motion.jaw.at[:, 0].set(0.01 * jnp.arange(7)))
    samples = symgen.build_samples(jax.random.key(1), model, portrait, Numbers(), motions=[motion])
    jaw = samples.flame.jaw[7:, :, 0] * 100
    # 5 frames, then the next 5 of the motion run forth and back: 5 6 5 4 3, then 2 1 0 1 2.
    np.testing.assert_allclose(jaw, [[0, 1, 2, 3, 4], [5, 6, 5, 4, 3], [2, 1, 0, 1, 2]], atol=1e-4)


def test_head_without_names(fakes, built):
    """Relaxed and exaggerated mean the same as on a head with names, by what ARKit's shapes ask of it."""
    named, _, samples = built
    basis = np.zeros((*named.template.shape, 3), np.float32)
    model = named.replace(expression_names=(), expression_basis=basis)
    portrait = fakes.disc_portrait(model)
    count, luck = len(named.expression_names), np.random.default_rng(0)
    arkit = ArkitMap(
        expression=luck.normal(size=(count, 3)).astype(np.float32),
        jaw=luck.normal(size=(count, 3)).astype(np.float32),
        eyes=luck.normal(size=(count, 2, 3)).astype(np.float32),
        names=named.expression_names,
    )
    one = samples.flame
    other = symgen.build_samples(jax.random.key(1), model, portrait, Numbers(), arkit=arkit).flame
    weights = one.expression[1:]  # the portrait's own is slot 0
    assert weights.any((0, 1)).sum() > 4
    np.testing.assert_allclose(other.expression[1:], weights @ arkit.expression, atol=1e-5)
    np.testing.assert_allclose(other.jaw[1:], one.jaw[1:] + weights @ arkit.jaw, atol=1e-5)
    turned = one.eyes[1:] + np.einsum("mtk,kec->mtec", weights, arkit.eyes)
    np.testing.assert_allclose(other.eyes[1:], turned, atol=1e-5)
    np.testing.assert_array_equal(other.neck, one.neck)
    with pytest.raises(ValueError, match="have no ARKit names"):
        symgen.build_samples(jax.random.key(1), model, portrait, Numbers())
