"""Fitting heads whose shape, expression and camera are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import flame, geometry
from zero1a_jax.preprocess.fit import fit
from zero1a_jax.preprocess.fit_landmarks import solve
from zero1a_jax.preprocess.subset import landmark_subset


@pytest.mark.parametrize("yaw", [0.0, 0.5, -1.0])
def test_true_landmarks_are_met(head, truth, yaw):
    params, camera, detection = truth(3, yaw)
    fitted = fit(head, detection, camera)
    assert float(fitted.error) < 0.003
    wanted, _ = detection.lookup(head.mediapipe_indices)
    moved, _ = geometry.project(
        fitted.camera, flame.landmarks_mediapipe(head, flame.forward(head, fitted.flame)[0])
    )
    assert np.abs(np.asarray(moved) - np.asarray(fitted.points)).max() < 0.01
    assert np.linalg.norm(np.asarray(fitted.points) - wanted, axis=-1).mean() < 0.2
    turn = np.asarray(fitted.camera.world_to_camera)[:3, :3] @ np.asarray(camera.world_to_camera)[:3, :3].T
    assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 2.5
    for still in (fitted.flame.rotation, fitted.flame.neck, fitted.flame.translation):
        assert (np.asarray(still) == 0).all()


def test_it_beats_the_mean_head_and_finds_the_expression(head, truth):
    better = 0
    for seed in range(4):
        params, camera, detection = truth(seed, 0.2)
        fitted = fit(head, detection, camera)
        true, mean = (flame.forward(head, p)[0] for p in (params, flame.zero_params(head)))
        found = flame.forward(head, fitted.flame)[0]
        face = np.asarray(head.masks["face"])

        def off(vertices, true=true, face=face):
            a, b = np.asarray(vertices)[face], np.asarray(true)[face]
            return np.linalg.norm((a - a.mean(0)) - (b - b.mean(0)), axis=-1).mean()

        better += off(found) < 0.8 * off(mean)
        strongest = np.argsort(-np.asarray(params.expression))[:2]
        for k in strongest[np.asarray(params.expression)[strongest] > 0]:
            assert fitted.flame.expression[k] > 0.5 * params.expression[k]
        assert np.abs(np.asarray(fitted.flame.eyes) - np.asarray(params.eyes)).max() < 0.05
    assert better >= 3


def test_wrong_points_pull_little(head, truth):
    _, camera, detection = truth(1, 0.0)
    clean = fit(head, detection, camera)
    points = detection.points.copy()
    points[:8] += 25.0
    spoiled = fit(head, dataclasses.replace(detection, points=points, spread=0.002), camera)
    gap = np.linalg.norm(np.asarray(spoiled.points) - np.asarray(clean.points), axis=-1)
    assert np.median(gap) < 1.5


def test_same_input_same_bits_and_no_second_compilation(head, truth):
    _, camera, detection = truth(2, 0.3)
    first = fit(head, detection, camera)
    programs = solve._cache_size()
    second = fit(head, detection, camera)
    fit(head, truth(7, -0.4)[2], camera)
    assert solve._cache_size() == programs
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_subset_has_the_head_s_landmarks(head, truth):
    params, _, _ = truth(5, 0.0)
    params = params.replace(jaw=jnp.array([0.2, 0.0, 0.0]), neck=jnp.array([0.1, 0.2, 0.0]))
    reduced = landmark_subset(head)
    assert len(reduced.template) < 0.25 * len(head.template)
    full, joints = flame.forward(head, params)
    small, small_joints = flame.forward(reduced, params)
    assert np.abs(np.asarray(joints) - np.asarray(small_joints)).max() < 1e-6
    for function in (
        lambda model, vertices: flame.landmarks_mediapipe(model, vertices),
        lambda model, vertices: flame.landmarks_drawn(model, vertices, params),
    ):
        gap = np.asarray(function(head, full)) - np.asarray(function(reduced, small))
        assert np.abs(gap).max() < 1e-6
    pupil = np.asarray(head.masks["pupil"]) & np.asarray(head.masks["left_eyeball"])
    assert np.abs(np.asarray(full)[pupil].mean(0) - np.asarray(small)[-2]).max() < 1e-3


def test_too_few_shared_points_and_bare_models_are_refused(head, truth):
    _, camera, detection = truth(0, 0.0)
    with pytest.raises(ValueError, match="too few"):
        fit(head, dataclasses.replace(detection, ids=detection.ids + 1000), camera)
    with pytest.raises(ValueError, match="embedding"):
        fit(head.replace(mediapipe_faces=None), detection, camera)
