import dataclasses
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import synthetic
from zero1a_jax.flame import forward, frame_target, zero_params
from zero1a_jax.flame.landmarks import landmarks_mediapipe
from zero1a_jax.flame.procedural import procedural_head
from zero1a_jax.geometry import axis_angle_to_matrix, portrait_camera, project
from zero1a_jax.geometry.zbuffer import zbuffer

SIZE = 64


person = jax.jit(synthetic.identity)


@pytest.fixture(scope="module")
def draw():
    """draw(shape, look, params, yaw, move): pictures [2, ...] from yaw and 0.5 beside it, compiled once.

    `move` [4, 4] is applied to the world before the camera.
    """
    model = procedural_head()

    @jax.jit
    def picture(shape, look, params, yaw, move):
        camera = portrait_camera(frame_target(model, shape), yaw + jnp.array([0, 0.5]), 0.0, SIZE)
        camera = camera.replace(world_to_camera=camera.world_to_camera @ move)
        return synthetic.render(model, look, params.replace(shape=shape), camera)

    def call(shape, look, params=None, yaw=0.0, move=None):
        params = zero_params(model) if params is None else params
        rgb, alpha = picture(shape, look, params, yaw, np.eye(4) if move is None else move)
        assert rgb.shape == (2, SIZE, SIZE, 3) and alpha.shape == (2, SIZE, SIZE)
        return np.asarray(rgb), np.asarray(alpha)

    return call


def long_haired(key):
    """An identity with hanging hair, glasses and a beard, whatever its key says."""
    shape, look = person(key)
    return shape, look.replace(
        curtain=jnp.array([0.1, 1.0, 0.012, 0.0]),
        hair_amount=jnp.float32(1),
        glasses=look.glasses.at[0].set(1),
        beard_thickness=jnp.float32(0.004),
    )


def test_pictures_are_sound_and_repeat(draw):
    pictures = [draw(*person(jax.random.key(seed))) for seed in (0, 1, 0)]
    for rgb, alpha in pictures:
        assert np.isfinite(rgb).all() and rgb.min() >= 0 and rgb.max() <= 1
        assert 0 <= alpha.min() and alpha.max() <= 1 + 1e-6
        assert 0.2 < alpha.mean() < 0.75 and not rgb[alpha == 0].any()
        assert ((alpha > 0.1) & (alpha < 0.9)).any()  # anti-aliased rim
        assert rgb[alpha > 0.99].std() > 0.08
    assert np.array_equal(pictures[0][0], pictures[2][0])
    assert np.abs(pictures[0][0] - pictures[1][0]).mean() > 0.02


def test_cover_contains_the_mesh(draw):
    model = procedural_head()
    shape, look = person(jax.random.key(4))
    alpha = draw(shape, look, yaw=-0.1)[1][1]
    camera = portrait_camera(frame_target(model, shape), 0.4, 0.0, SIZE)
    pixels, depth = project(camera, forward(model, zero_params(model).replace(shape=shape))[0])
    face_id, _, _ = jax.jit(lambda p, d: zbuffer(p, d, model.faces, SIZE, SIZE))(pixels, depth)
    assert alpha[np.asarray(face_id) >= 0].min() > 0.2


def test_hair_and_glasses_follow_the_head(draw):
    shape, look = long_haired(jax.random.key(2))
    model = procedural_head()
    turn = jnp.array([0.1, 0.5, -0.2])
    rest = zero_params(model).replace(shape=shape)
    root = forward(model, rest)[1][0]
    rotation = axis_angle_to_matrix(turn)
    move = jnp.eye(4).at[:3, :3].set(rotation).at[:3, 3].set(root - rotation @ root)
    _, want = draw(shape, look, move=move)
    _, got = draw(shape, look, zero_params(model).replace(rotation=turn))
    assert np.abs(got - want).max() < 0.26 and np.abs(got - want).mean() < 1e-3


def test_hair_has_volume(draw):
    shape, look = person(jax.random.key(9))
    bald = look.replace(hair_amount=jnp.float32(0), curtain=look.curtain.at[0].set(0))
    cover = [draw(shape, who)[1].sum() for who in (bald, long_haired(jax.random.key(9))[1])]
    assert cover[1] > 1.05 * cover[0]


def test_gaze_moves_the_irises_only(draw):
    shape, look = person(jax.random.key(6))
    look = look.replace(glasses=look.glasses.at[0].set(0))
    params = zero_params(procedural_head())
    ahead, _ = draw(shape, look, params)
    aside, _ = draw(shape, look, params.replace(eyes=params.eyes.at[:, 1].set(0.4)))
    rows, columns = np.nonzero(np.abs(ahead - aside)[0].max(-1) > 0.05)
    assert 4 <= len(rows) and np.ptp(rows) < 0.15 * SIZE and np.ptp(columns) < 0.5 * SIZE


def test_textured_has_the_same_type_and_other_colours(draw):
    keys = jax.random.split(jax.random.key(0), 16)
    both = jax.jit(jax.vmap(lambda key: (*synthetic.identity(key), *synthetic.textured(key))))(keys)
    shapes, plain, _, wild = jax.tree.map(np.asarray, both)
    assert shapes.shape == (16, procedural_head().shape_basis.shape[-1])
    for field in dataclasses.fields(plain):
        a, b = getattr(plain, field.name), getattr(wild, field.name)
        assert a.shape == b.shape and a.dtype == b.dtype and np.isfinite(a).all() and np.isfinite(b).all()
    assert float(wild.pattern.max()) > 0.3 and float(plain.pattern.max()) == 0
    saturation = [np.ptp(look.skin, -1).mean() for look in (plain, wild)]
    assert saturation[1] > 1.3 * saturation[0]
    one = jax.tree.map(lambda x: x[3], wild)
    rgb, alpha = draw(shapes[3], one)
    assert np.isfinite(rgb).all() and alpha.max() > 0.99


def test_leading_axes_broadcast(draw):
    shape, look = person(jax.random.key(1))
    first, second = draw(shape, look, yaw=0.0), draw(shape, look, yaw=0.5)
    assert np.abs(first[0][1] - second[0][0]).mean() < 1e-4
    assert np.abs(first[0][0] - first[0][1]).mean() > 0.02


def test_other_heads_and_sizes_say_so():
    model = procedural_head()
    shape, look = person(jax.random.key(0))
    params, camera = zero_params(model).replace(shape=shape), portrait_camera(np.zeros(3), 0.0, 0.0, 16)
    with pytest.raises(ValueError, match="procedural_head"):
        synthetic.render(model.replace(template=model.template + 0.1, masks=None), look, params, camera)
    with pytest.raises(ValueError, match="supersample"):
        synthetic.render(model, look, params, camera, supersample=0)


@pytest.mark.slow
def test_mediapipe_finds_the_faces_where_the_mesh_is(tmp_path):
    """64 random people, yaw within 30 degrees: found in 95 %, landmarks within 4 % of the eyes' distance."""
    folder = os.environ.get("ZERO1A_ASSETS", "")
    path = Path(folder) / "face_landmarker.task"
    if not folder or not path.is_file():
        pytest.skip("set ZERO1A_ASSETS to a folder with face_landmarker.task")
    mediapipe = pytest.importorskip("mediapipe")
    vision = mediapipe.tasks.vision
    base = mediapipe.tasks.BaseOptions(model_asset_path=str(path))
    size, model = 256, procedural_head()

    @jax.jit
    def picture(key, yaw):
        shape, look = synthetic.identity(key)
        params = zero_params(model).replace(shape=shape)
        camera = portrait_camera(frame_target(model, shape), yaw, 0.0, size)
        rgb, alpha = synthetic.render(model, look, params, camera)
        vertices, joints = forward(model, params)
        points, _ = project(camera, landmarks_mediapipe(model, vertices))
        eyes = jnp.linalg.norm(joints[3] - joints[4]) * camera.focal[0]  # the camera is 1 m away
        return rgb * alpha[..., None] + 1 - alpha[..., None], points, eyes

    yaws = np.radians(np.random.default_rng(0).uniform(-30, 30, 64))
    errors = []
    with vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(base_options=base)) as finder:
        for seed, yaw in enumerate(yaws):
            rgb, points, eyes = picture(jax.random.key(10_000 + seed), yaw)
            pixels = np.ascontiguousarray(np.asarray(rgb) * 255 + 0.5, np.uint8)
            found = finder.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, pixels)).face_landmarks
            if found:
                seen = size * np.array([[p.x, p.y] for p in found[0]])[np.asarray(model.mediapipe_indices)]
                errors.append(np.median(np.linalg.norm(seen - np.asarray(points), axis=-1)) / float(eyes))
    print(f"found {len(errors)} of {len(yaws)}; median error {np.median(errors):.4f} of the eyes' distance")
    assert len(errors) >= 0.95 * len(yaws)
    assert np.median(errors) < 0.04


@pytest.mark.slow
def test_mediapipe_names_the_expressions(tmp_path):
    """Its top 3 scores, left and right taken together, hold the shape that is on, for 12 beardless people.

    Full beards move the lips' outline for MediaPipe, so that it misses puckers under them.
    """
    folder = os.environ.get("ZERO1A_ASSETS", "")
    if not folder:
        pytest.skip("set ZERO1A_ASSETS to a folder with face_landmarker.task")
    pytest.importorskip("mediapipe")
    from zero1a_jax.preprocess import find_detector

    detector, model = find_detector(folder), procedural_head()
    names = list(model.expression_names)

    @jax.jit
    def picture(key, expression):
        shape, look = synthetic.identity(key)
        look = look.replace(beard_thickness=jnp.zeros(()), stubble=jnp.zeros(()))
        params = zero_params(model).replace(shape=shape, expression=expression)
        rgb, alpha = synthetic.render(
            model, look, params, portrait_camera(frame_target(model, shape), 0.0, 0.0, 384)
        )
        return rgb * alpha[..., None] + 1 - alpha[..., None]

    ranks: dict[str, list[int]] = {}
    for wanted in ("jawOpen", "mouthSmile", "mouthPucker", "eyeBlink"):
        on = np.array([name in (wanted, wanted + "Left", wanted + "Right") for name in names], np.float32)
        for seed in range(12):
            rgb = np.asarray(picture(jax.random.key(20_000 + seed), jnp.asarray(on)) * 255 + 0.5, np.uint8)
            scores: dict[str, float] = {}
            for name, score in detector(rgb).scores.items():
                name = name.removesuffix("Left").removesuffix("Right")
                scores[name] = max(score, scores.get(name, 0.0))
            order = sorted(scores, key=lambda name: -scores[name])
            ranks.setdefault(wanted, []).append(1 + order.index(wanted))
    print({name: sorted(values) for name, values in ranks.items()})
    for name, values in ranks.items():
        assert np.median(values) <= 3, name
        assert np.mean(np.array(values) <= 3) >= 0.75, name
