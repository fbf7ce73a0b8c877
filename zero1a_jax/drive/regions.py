"""Parts of a face that a motion moves, and how much."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from zero1a_jax.drive.arkit import ERROR, at_landmarks
from zero1a_jax.drive.ranges import BLINK, FULL, GAIN, GAZE, LEAST, MOST, calibrated_weights, rest_of
from zero1a_jax.errors import Refused
from zero1a_jax.image.landmarks import GROUPS
from zero1a_jax.retargeting import Retargeting
from zero1a_jax.types import FlameModel, Motion, Recording

MOUTH, EYES = ("mouth", "jaw", "tongue", "cheekpuff"), ("eye",)  # beginnings of ARKit's names
JAW = 0.36  # radians of a fully open mouth
_POINTS = {"mouth": GROUPS[5:], "eyes": (GROUPS[1], GROUPS[3])}


def region_of_recording(recording: Recording, how: Retargeting) -> Recording:
    """The recording with the shapes, turns and gaze that `how` asks for. Shapes that grow stay within 1."""
    weights = scaled(recording.names, recording.weights, how)
    turns = np.array(recording.rotations)
    turns[:, :3] *= _head(how)
    turns[:, 3:] *= _gaze(how)
    return recording.replace(weights=weights, rotations=turns)


def scaled(names: Sequence[str], weights: np.ndarray, how: Retargeting) -> np.ndarray:
    """Weights [T, K] of the shapes `names`, times what `how` asks for."""
    factors = np.array([_factor(name.lower().replace("_", ""), how) for name in names])
    return np.where(factors > 1, np.clip(weights * factors, 0, np.maximum(weights, 1)), weights * factors)


def region_of_motion(motion: Motion, model: FlameModel, how: Retargeting) -> Motion:
    """A motion of coefficients likewise; `how.calibrate` brings its jaw, and named shapes, to the range.

    On a head without named expressions lips and eyes are told apart by its landmarks: the coefficients that
    move those of the region alike and leave the others, as far as the basis can.

    Raises Refused where blinks shall change that have no name, and where the landmarks are missing.
    """
    flame = motion.flame
    expression, jaw = np.asarray(flame.expression), np.asarray(flame.jaw)
    calibrate = "none" if how.calibrate == "auto" else how.calibrate
    if len(model.expression_names) == expression.shape[1]:
        expression = calibrated_weights(model.expression_names, expression, calibrate)
        expression = scaled(model.expression_names, expression, how)
    else:
        if how.blink != 1:
            raise Refused(
                "--blink needs shapes with names (a video, Live Link, MediaPipe); this motion has "
                "coefficients"
            )
        share = 0.0 if how.region == "head" else how.strength
        if how.region in _POINTS and expression.any():
            expression = expression @ _within(model, how.region, expression.shape[1]).T
        expression = share * expression
    jaw = _calibrated_jaw(jaw, calibrate) * (how.strength if how.region in ("all", "face", "mouth") else 0.0)
    head = np.float32(_head(how))
    flame = dataclasses.replace(
        flame,
        expression=np.asarray(expression, np.float32),
        jaw=np.asarray(jaw, np.float32),
        eyes=np.float32(_gaze(how)) * np.asarray(flame.eyes),
        neck=head * np.asarray(flame.neck),
        rotation=head * np.asarray(flame.rotation),
        translation=min(head, np.float32(1)) * np.asarray(flame.translation),
    )
    return dataclasses.replace(motion, flame=flame)


def _factor(name: str, how: Retargeting) -> float:
    if how.region == "head":
        return 0.0
    if how.region == "mouth" and not name.startswith(MOUTH):
        return 0.0
    if how.region == "eyes" and not name.startswith(EYES):
        return 0.0
    return how.blink if name.startswith(BLINK) else how.gaze if name.startswith(GAZE) else how.strength


def _head(how: Retargeting) -> float:
    return how.head_turn if how.region in ("all", "head") else 0.0


def _gaze(how: Retargeting) -> float:
    return how.gaze if how.region in ("all", "face", "eyes") else 0.0


def _calibrated_jaw(jaw: np.ndarray, calibrate: str) -> np.ndarray:
    """Axis-angle [T, 3] whose opening, the x, is brought to the range as shapes are."""
    if calibrate == "none":
        return jaw
    opened = jaw[:, :1] - rest_of(jaw[:, :1])
    most = float(np.percentile(opened, MOST))
    if calibrate == "range" and most > LEAST * JAW:
        opened = opened * np.clip(FULL * JAW / most, 1.0, GAIN)
    return np.concatenate([opened, jaw[:, 1:]], axis=1)


def _within(model: FlameModel, region: str, count: int) -> np.ndarray:
    """A matrix [E, E] from coefficients to those that move a region's landmarks alike and no others."""
    if model.mediapipe_indices is None:
        raise Refused(f"--region={region} needs MediaPipe's landmark embedding; load FLAME with its files")
    ids = np.asarray(model.mediapipe_indices)
    inside = np.isin(ids, [i for _, chains in _POINTS[region] for chain in chains for i in chain])
    moves = at_landmarks(model, ids, np.asarray(model.expression_basis)[..., :count]) / ERROR  # [L, 3, E]
    wanted = (moves * inside[:, None, None]).reshape(-1, moves.shape[-1])
    moves = moves.reshape(wanted.shape)
    small = np.eye(moves.shape[1])  # what moves no landmark is left at rest
    return np.linalg.solve(moves.T @ moves + small, moves.T @ wanted)
