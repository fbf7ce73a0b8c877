"""What the viewer shows of an avatar: its sliders on each kind of head, and its callables."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.avatar import bind
from zero1a_jax.drive import arkit_map
from zero1a_jax.flame import frame_target, procedural_head
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.showing import playback, poses, stage
from zero1a_jax.sources.avatars import Loaded


@pytest.fixture(scope="module")
def loaded():
    model = procedural_head()
    avatar = bind(
        jax.random.key(0), model, jnp.zeros(model.shape_basis.shape[2]), capacity=12_288, opacity=0.9
    )
    return Loaded(avatar, model, {"seed": 3, "background": [1.0, 0.5, 0.0]}, None)


def nameless(loaded):
    return dataclasses.replace(loaded.model, expression_names=())


def test_sliders_of_every_head(loaded):
    names = stage.names_of(loaded)
    assert "jawOpen" in names and "headYaw" in names and len(names) == 58
    arkit = arkit_map(("jawOpen", "mouthPucker"), loaded.model, nameless(loaded))
    mapped = loaded._replace(model=nameless(loaded), arkit=arkit)
    assert stage.names_of(mapped) == ("jawOpen", "mouthPucker", *stage.TURNS)
    weights = {"mouthPucker": 0.5, "jawPitch": 10, "eyeYaw": 5}
    params = stage.parameters(mapped, weights)
    np.testing.assert_allclose(params.expression, 0.5 * arkit.expression[1], atol=1e-6)
    np.testing.assert_allclose(params.jaw, 0.5 * arkit.jaw[1] + [np.radians(10), 0, 0], atol=1e-6)
    unknown = loaded._replace(model=nameless(loaded))
    assert stage.names_of(unknown)[:2] == ("expression 0", "expression 1")
    assert np.flatnonzero(stage.parameters(unknown, {"expression 3": 2.0}).expression).tolist() == [3]


def test_weights_and_turns_are_those_of_the_other_commands(loaded):
    params = stage.parameters(loaded, {"jawOpen": 0.7, "headYaw": 20, "headPitch": -10, "eyePitch": 8})
    same = poses.from_arkit(loaded.model, {"jawOpen": 0.7})
    np.testing.assert_allclose(params.expression, same.expression)
    np.testing.assert_allclose(params.eyes, [[np.radians(8), 0, 0]] * 2, atol=1e-6)
    only_yaw = stage.parameters(loaded, {"headYaw": 20}).neck
    np.testing.assert_allclose(only_yaw, [0, np.radians(20), 0], atol=1e-6)


def test_the_callables(loaded):
    shown = stage.stage(loaded, size=64)
    neutral = shown.params({})
    assert len(shown.gaussians(neutral).means) == int(np.asarray(loaded.avatar.alive).sum())
    vertices, opened = shown.vertices(neutral), shown.vertices(shown.params({"jawOpen": 1.0}))
    assert vertices.shape == loaded.model.template.shape and np.abs(vertices - opened).max() > 0.01
    landmarks = shown.landmarks(neutral)
    assert landmarks.shape == (119, 3) and np.abs(landmarks - shown.target).max() < 0.2
    assert shown.provenance.seed == 3


@pytest.mark.slow
def test_its_picture_is_the_videos(loaded):
    shown = stage.stage(loaded, size=64)
    neutral = shown.params({})
    camera = portrait_camera(frame_target(loaded.model, loaded.avatar.shape), np.zeros(1), np.zeros(1), 64)
    rgb, depth = shown.picture(neutral, camera)
    flame = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], neutral)
    behind = np.array(loaded.meta["background"], np.float32)
    ((ours, _),) = playback.render(loaded.avatar, loaded.model, flame, camera, background=behind)
    np.testing.assert_allclose(rgb, ours, atol=1e-5)
    assert 0.8 < depth[32, 32] < 1.0 and depth[0, 0] == 0
