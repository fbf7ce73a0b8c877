"""An avatar along a motion, as a video."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from zero1a_jax import drive, outputs, provenance, record
from zero1a_jax.flame import frame_target
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.retargeting import AS_RECORDED, Retargeting
from zero1a_jax.showing import playback, poses
from zero1a_jax.sources import motions
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import FlameParams, Motion

DEMO = "demo"  # stands for a motion that shows what the avatar can do


def write(
    loaded: Loaded,
    motion: str | os.PathLike | Motion,
    out: str | os.PathLike,
    *,
    size: int = 256,
    fps: float = 25.0,
    motion_fps: float | None = None,
    smooth: int = 1,
    expression: Literal["match", "drop"] = "match",
    root: Literal["keep", "drop"] = "drop",
    how: Retargeting = AS_RECORDED,
    assets: str | os.PathLike | None = None,
    sway: float = 0.0,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    frames: int = 0,
    label: bool = False,
    overwrite: bool = False,
) -> int:
    """Renders an avatar along a motion and writes the video; returns how many frames it has.

    Args:
      loaded: the avatar, see `avatars.load`.
      motion: "demo", a file or folder (see `sources.motions.load`), or a Motion.
      out: .mp4, .mov or .mkv.
      size: pixels a side. fps: frames a second, to which the motion is resampled.
      motion_fps: the recording's own rate; None takes it from the file, see `sources.motions.load`.
      smooth: frames of the moving average, odd. expression, root: see `drive.retarget`.
      how: what moves, by how much and against which rest. assets: the folder with face_landmarker.task,
        for videos, see `sources.motions.load`.
      sway: degrees that the camera swings to each side, once in 4 s.
      background: r, g, b in 0..1. frames: at most so many; 0 = all.
      label: write "synthetic" in a corner of every frame; the file's metadata say it in any case.
      overwrite: replace also a file at `out` that we did not write, or that was changed since.
    """
    out = Path(out).expanduser()
    record.refuse(out.parent, [out.name], overwrite=overwrite)
    about = provenance.of_avatar(loaded.meta, label=label)
    target = frame_target(loaded.model, loaded.avatar.shape)
    if motion == DEMO:
        shown = poses.expressions(loaded.model, target, size, arkit=loaded.arkit)
        cameras, flame = poses.joined([shown, poses.turntable(loaded.model, target, size)])
    else:
        flame = movement(
            loaded,
            motion,
            fps=fps,
            motion_fps=motion_fps,
            smooth=smooth,
            expression=expression,
            root=root,
            how=how,
            assets=assets,
        )
        count = len(np.asarray(flame.jaw))
        yaw = np.radians(sway) * np.sin(2 * np.pi * np.arange(count) / (4 * fps))
        cameras = portrait_camera(target, yaw, np.zeros(count), size)
    if frames:
        flame, cameras = jax.tree.map(lambda x: x[:frames], (flame, cameras))
    rendered = playback.render(loaded.avatar, loaded.model, flame, cameras, background=np.array(background))
    frames_shown = (as_uint8(rgb) for rgb, _ in rendered)
    with record.writing(out.parent, [out.name], overwrite=overwrite) as unfinished:
        outputs.video.write(unfinished / out.name, frames_shown, fps, provenance=about)
    return len(np.asarray(flame.jaw))


def movement(
    loaded: Loaded,
    motion: str | os.PathLike | Motion,
    *,
    fps: float = 25.0,
    motion_fps: float | None = None,
    smooth: int = 1,
    expression: Literal["match", "drop"] = "match",
    root: Literal["keep", "drop"] = "drop",
    how: Retargeting = AS_RECORDED,
    assets: str | os.PathLike | None = None,
) -> FlameParams:
    """The avatar's parameters [T] at `fps`; arguments as `write`'s."""
    if motion == DEMO:
        target = frame_target(loaded.model, loaded.avatar.shape)
        return poses.expressions(loaded.model, target, 128, arkit=loaded.arkit).flame
    shape = loaded.avatar.shape
    if isinstance(motion, Motion):
        found = drive.retarget(motion, loaded.model, shape=shape, expression=expression, root=root)
        found = drive.region_of_motion(found, loaded.model, how)
    else:
        found = motions.load(
            motion,
            loaded.model,
            shape=shape,
            fps=motion_fps,
            arkit=loaded.arkit,
            expression=expression,
            root=root,
            how=how,
            assets=assets,
        )
    return drive.moving_average(drive.resample(found, fps), smooth).flame
