"""SHOW's .pkl and TalkSHOW's .npy to a Motion. Executes nothing.

Both drive SMPL-X bodies whose faces have FLAME's expression space. SHOW writes one dictionary a clip, the
network TalkSHOW gives 265 numbers a frame. Source: Yi et al., "Generating Holistic 3D Human Motion from
Speech", CVPR 2023, and their files.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from zero1a_jax.converters.checked import numbers, table
from zero1a_jax.converters.pickles.unpickle import BadFile, load_npy, load_pickle
from zero1a_jax.types import FlameParams, Motion

FPS = 30.0
NECK = 11  # of the 21 body joints: SMPL-X's joint 12 without the pelvis. 12 would be the left collar.
BODY, WIDTH = 21, 265
JAW, JOINTS, EXPRESSION = slice(0, 3), slice(12, 12 + 3 * BODY), slice(165, 265)


def load(path: str | os.PathLike, *, fps: float = FPS, flame_version: str = "unknown") -> Motion:
    """Reads a motion of T frames at `fps` a second.

    From a .pkl: shape [T, 300] (betas, repeated), expression [T, 100], jaw, neck, eyes, global rotation and
    translation in the world of the clip's camera; without body_pose_axis, leye_pose or reye_pose the neck or
    that eye is 0. From a .npy: expression, jaw and neck alone; the rest is 0
    and the shape has one coefficient. No file says `fps` or `flame_version` (whose coefficients they are).

    Raises:
      FileNotFoundError: there is no such file.
      Refused: it is no such motion, damaged or hostile; the message names the file and what is wrong.
    """
    path = Path(path)
    is_array = path.suffix.lower() == ".npy"
    content = load_npy(path) if is_array else load_pickle(path)
    try:
        flame = _network(content) if is_array else _clip(table(content, "motion of SHOW"))
    except BadFile as error:
        raise BadFile(f"{path}: {error}") from error
    return Motion(flame=flame, camera=None, fps=fps, flame_version=flame_version)


def _clip(content: dict) -> FlameParams:
    expression = numbers(content, "expression", (None, None))
    frames = len(expression)
    shape = numbers(content, "betas", (1, None))
    zeros = {"body_pose_axis": np.zeros((frames, 3 * BODY), np.float32)}
    zeros |= dict.fromkeys(("leye_pose", "reye_pose"), np.zeros((frames, 3), np.float32))
    body, *eyes = (numbers(zeros | content, name, rest.shape) for name, rest in zeros.items())
    return FlameParams(
        shape=np.repeat(shape, frames, axis=0),
        expression=expression,
        rotation=numbers(content, "global_orient", (frames, 1, 3))[:, 0],
        neck=body.reshape(frames, BODY, 3)[:, NECK].copy(),
        jaw=numbers(content, "jaw_pose", (frames, 3)),
        eyes=np.stack(eyes, 1),
        translation=numbers(content, "transl", (frames, 3)),
    )


def _network(content: object) -> FlameParams:
    values = numbers({"its array": content}, "its array", (None, WIDTH))
    frames = len(values)
    zeros = np.zeros((frames, 3), np.float32)
    return FlameParams(
        shape=np.zeros((frames, 1), np.float32),
        expression=values[:, EXPRESSION].copy(),
        rotation=zeros,
        neck=values[:, JOINTS].reshape(frames, BODY, 3)[:, NECK].copy(),
        jaw=values[:, JAW].copy(),
        eyes=np.zeros((frames, 2, 3), np.float32),
        translation=zeros.copy(),
    )
