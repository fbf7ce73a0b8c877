"""An avatar along a motion, as a video or as pictures."""

from __future__ import annotations

import datetime
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from zero1a_jax import drive, files, outputs, provenance, record
from zero1a_jax.flame import frame_target
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.retargeting import AS_RECORDED, Retargeting
from zero1a_jax.showing import camera_paths, playback, poses
from zero1a_jax.sources import motions
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Camera, FlameParams, Motion

DEMO = "demo"  # stands for a motion that shows what the avatar can do


def write(
    loaded: Loaded,
    motion: str | os.PathLike | Motion,
    out: str | os.PathLike,
    *,
    size: int | tuple[int, int] = 256,
    fps: float = 25.0,
    motion_fps: float | None = None,
    smooth: int = 1,
    expression: Literal["match", "drop"] = "match",
    root: Literal["keep", "drop"] = "drop",
    how: Retargeting = AS_RECORDED,
    assets: str | os.PathLike | None = None,
    camera: str | os.PathLike = camera_paths.FRONT,
    background: tuple[float, float, float] | None = (1.0, 1.0, 1.0),
    frames: int = 0,
    label: bool = False,
    overwrite: bool = False,
) -> int:
    """Renders an avatar along a motion and writes the video; returns how many frames it has.

    Ctrl-C or SIGTERM while frames are rendered ends the video there: it is whole, and shorter. Then the
    signal acts.

    Args:
      loaded: the avatar, see `avatars.load`.
      motion: "demo", a file or folder (see `sources.motions.load`), or a Motion.
      out: a video, a .gif, or a folder of .png, see `outputs.moving`.
      size: pixels a side, or width and height.
      fps: frames a second, to which the motion is resampled.
      motion_fps: the recording's own rate; None takes it from the file, see `sources.motions.load`.
      smooth: frames of the moving average, odd. expression, root: see `drive.retarget`.
      how: what moves, by how much and against which rest. assets: the folder with face_landmarker.task,
        for videos, see `sources.motions.load`.
      camera: see `camera_paths.cameras`; at "front" the demo turns the head by itself.
      background: r, g, b in 0..1; None for transparency.
      frames: at most so many; 0 = all.
      label: write "synthetic" in a corner of every frame; the file's metadata say it in any case.
      overwrite: replace also a file at `out` that we did not write, or that was changed since.
    """
    out = Path(out).expanduser()
    outputs.moving.refuse(out, transparent=background is None)
    place, names = (out.parent, [out.name]) if out.suffix else (out, None)
    record.refuse(place, names, overwrite=overwrite)
    about = provenance.of_avatar(loaded.meta, label=label)
    wide, high = (size, size) if isinstance(size, int) else size
    target = frame_target(loaded.model, loaded.avatar.shape)
    if motion == DEMO and camera == camera_paths.FRONT and wide == high:
        shown = poses.expressions(loaded.model, target, wide, arkit=loaded.arkit)
        cameras, flame = poses.joined([shown, poses.turntable(loaded.model, target, wide)])
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
        cameras = camera_paths.cameras(camera, target, count, fps=fps, size=(wide, high))
    if frames:
        flame, cameras = jax.tree.map(lambda x: x[:frames], (flame, cameras))
    pictures = drawn(loaded, flame, cameras, background)
    first = next(pictures)  # what compiles: until then a signal acts at once
    with files.unbroken() as came:
        total = len(np.asarray(flame.jaw))
        rest = itertools.takewhile(lambda _: not came, told(itertools.chain([first], pictures), total))
        with record.writing(place, names, overwrite=overwrite) as unfinished:
            made = unfinished / out.name if out.suffix else unfinished
            count = outputs.moving.write(made, rest, fps, provenance=about)
        if came:
            print(f"{out} has {count} of {total} frames", flush=True)
    return count


def drawn(
    loaded: Loaded, flame: FlameParams, cameras: Camera, background: tuple[float, float, float] | None
) -> Iterator[np.ndarray]:
    """Frames uint8 [H, W, 3]; without a background [H, W, 4], colours not multiplied by alpha."""
    behind = np.zeros(3) if background is None else np.array(background)
    for rgb, alpha in playback.render(loaded.avatar, loaded.model, flame, cameras, background=behind):
        if background is None:
            alpha = np.clip(alpha, 0.0, 1.0)[..., None]
            rgb = np.concatenate([np.clip(rgb / np.maximum(alpha, 1e-4), 0.0, 1.0), alpha], -1)
        yield as_uint8(rgb)


def told(frames: Iterable[np.ndarray], total: int, *, every: float = 5.0) -> Iterator[np.ndarray]:
    """The frames; every so many seconds a line says how far it is."""
    begin = said = time.monotonic()
    for number, frame in enumerate(frames):
        yield frame
        now = time.monotonic()
        if now - said >= every and number:
            rate = number / (now - begin)
            left = datetime.timedelta(seconds=round((total - number - 1) / rate))
            print(f"frame {number + 1}/{total}  {rate:.1f} a second  remaining {left}", flush=True)
            said = now


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
