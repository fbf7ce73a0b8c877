"""An avatar along a motion, as a video."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from zero1a_jax import drive, files, provenance, record
from zero1a_jax.errors import Refused
from zero1a_jax.flame import frame_target
from zero1a_jax.image import film
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.outputs import clips
from zero1a_jax.retargeting import AS_RECORDED, Retargeting
from zero1a_jax.showing import camera_paths, playback, poses, side_by_side
from zero1a_jax.sources import motions
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Camera, FlameParams, Motion

DEMO = "demo"  # stands for a motion that shows what the avatar can do


def write(
    loaded: Loaded,
    motion: str | os.PathLike | Motion,
    out: str | os.PathLike,
    *,
    size: int | str = 256,
    fps: float = 25.0,
    motion_fps: float | None = None,
    smooth: int = 1,
    expression: Literal["match", "drop"] = "match",
    root: Literal["keep", "drop"] = "drop",
    how: Retargeting = AS_RECORDED,
    assets: str | os.PathLike | None = None,
    camera: str = "fixed",
    background: tuple[float, float, float] | None = (1.0, 1.0, 1.0),
    beside: bool = False,
    frames: int = 0,
    label: bool = False,
    overwrite: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> int:
    """Renders an avatar along a motion and writes the video; returns how many frames it has.

    Ctrl-C and SIGTERM, once there is a first frame, end the video after those that are done: it is written,
    and then the KeyboardInterrupt says how many they are.

    Args:
      loaded: the avatar, see `avatars.load`.
      motion: "demo", a file or folder (see `sources.motions.load`), or a Motion.
      out: .mp4, .mov, .mkv, .webm, .gif, or FOLDER/ with a slash for numbered PNGs.
      size: pixels a side, or "WIDTHxHEIGHT". fps: frames a second, to which the motion is resampled.
      motion_fps: the recording's own rate; None takes it from the file, see `sources.motions.load`.
      smooth: frames of the moving average, odd. expression, root: see `drive.retarget`.
      how: what moves, by how much and against which rest. assets: the folder with face_landmarker.task,
        for videos, see `sources.motions.load`.
      camera: "fixed" (the demo turns all the same), "orbit", "sway" or a file, see `camera_paths.path`.
      background: r, g, b in 0..1; None for none, which .webm, .mov, .gif and PNGs can hold.
      beside: the video that drives stands at the left; the motion must be one.
      frames: at most so many; 0 = all.
      label: write "synthetic" in a corner of every frame; the file's metadata say it in any case.
      overwrite: replace also a file at `out` that we did not write, or that was changed since.
      report: told (done, all) after each frame.
    """
    width, height = camera_paths.size_of(size)
    clips.refuse(out, fps, transparent=background is None)
    folder = Path(out).expanduser() if clips.is_folder(out) else Path(out).expanduser().parent
    record.refuse(folder, [] if clips.is_folder(out) else clips.names(out, 0), overwrite=overwrite)
    driving = _film(motion, needed=beside)
    about = provenance.of_avatar(loaded.meta, label=label)
    flame, views = _shots(
        loaded,
        motion,
        (width, height),
        camera,
        fps=fps,
        motion_fps=motion_fps,
        smooth=smooth,
        expression=expression,
        root=root,
        how=how,
        assets=assets,
    )
    if frames:
        flame, views = jax.tree.map(lambda x: x[:frames], (flame, views))
    total = len(np.asarray(flame.jaw))
    images = pictures(loaded, flame, views, background)
    if beside and driving is not None:
        images = side_by_side.frames(driving, images, fps)
    first, done = next(images), 0  # until here a signal ends it all at once: nothing could be kept
    try:
        with files.unbroken() as came:
            frames_shown = _reported(itertools.chain([first], images), came, total, report)
            with record.writing(folder, clips.names(out, total), overwrite=overwrite) as unfinished:
                done = clips.write(unfinished, out, frames_shown, fps, provenance=about, sound=driving)
    except KeyboardInterrupt as stopped:
        if done:
            stopped.args = (f"stopped: {os.fspath(out)} is whole, of {done} of {total} frames",)
        raise
    return done


def _shots(
    loaded: Loaded, motion: str | os.PathLike | Motion, size: tuple[int, int], camera: str, **options: Any
) -> tuple[FlameParams, Camera]:
    """Parameters and cameras [T] of all frames; `options` are `movement`'s."""
    width, height = size
    target = frame_target(loaded.model, loaded.avatar.shape)
    if motion == DEMO:
        shown = poses.expressions(loaded.model, target, min(width, height), arkit=loaded.arkit)
        turning = poses.turntable(loaded.model, target, min(width, height))
        views, flame = poses.joined([shown, turning])
        if camera == "fixed":
            return flame, camera_paths.widened(views, width, height)
    else:
        flame = movement(loaded, motion, **options)
    path = camera_paths.path(camera, len(np.asarray(flame.jaw)), options["fps"])
    return flame, camera_paths.cameras(target, path, width, height)


def pictures(
    loaded: Loaded, flame: FlameParams, views: Camera, background: tuple[float, float, float] | None
) -> Iterator[np.ndarray]:
    """The frames as uint8 [H, W, 3], or without a background as [H, W, 4] with straight alpha.

    Args:
      loaded: the avatar. flame, views: [T], of each frame.
      background: r, g, b in 0..1, or None.
    """
    behind = np.array(background or (0.0, 0.0, 0.0))
    for rgb, alpha in playback.shown(loaded, flame, views, background=behind):
        yield as_uint8(rgb) if background is not None else straight(rgb, alpha)


def straight(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What was rendered over black, [H, W, 3] and alpha [H, W] in 0..1, as uint8 [H, W, 4], straight alpha.

    Over black a pixel is alpha times its colour; files hold the colour itself.
    """
    alpha = np.clip(alpha, 0.0, 1.0)[..., None]
    colour = np.where(alpha > 0, rgb / np.maximum(alpha, 1e-6), 0.0)
    return as_uint8(np.concatenate([colour, alpha], -1))


def _reported(
    images: Iterable[np.ndarray], came: list[int], total: int, report: Callable[[int, int], None] | None
) -> Iterator[np.ndarray]:
    """The images until a signal came, each of them reported once it was taken."""
    for done, image in enumerate(images, 1):
        yield image
        if report is not None:
            report(done, total)
        if came:
            return


def _film(motion: str | os.PathLike | Motion, *, needed: bool) -> Path | None:
    """The motion as a video file, if it is one; Refused where it is `needed` and is not."""
    if not isinstance(motion, Motion) and Path(motion).suffix.lower() in film.SUFFIXES:
        return Path(motion).expanduser()
    if needed:
        raise Refused("--beside needs a --motion that is a video")
    return None


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
