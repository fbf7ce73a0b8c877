"""An avatar against a capture of the person: self-reenactment, as the field reports it.

The capture's first moment is taken for the portrait; what comes later is held out. The avatar keeps its own
identity and takes the capture's expressions, joints and cameras. Where its head is another than the
tracker's, the middles of both faces are laid on each other, and the aligned figures leave out what remains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import drive, files
from zero1a_jax.converters import captures, flame_npz
from zero1a_jax.errors import Refused
from zero1a_jax.flame import forward, frame_target
from zero1a_jax.geometry import axis_angle_to_matrix
from zero1a_jax.measuring import evaluation
from zero1a_jax.measuring.differences import PICTURE_METRICS, Judge, differences
from zero1a_jax.preprocess.load import load_image, load_mask
from zero1a_jax.showing import playback
from zero1a_jax.sources import avatars
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Camera, FlameModel, FlameParams


def evaluate(
    folder: Path,
    against: Path,
    out: Path,
    *,
    pairs: int,
    flame: str = "",
    judges: Mapping[str, Judge] | None = None,
) -> list[dict[str, Any]]:
    """Measures frames of a capture that `out` lacks and returns all rows, in the order of time.

    Args:
      folder: of a finished run, or its export folder. against: of the capture, see `converters.captures`.
      out: the .jsonl to append to.
      pairs: how many frames, evenly spread over what is held out. They are compared in the size of the files.
      flame: folder of the FLAME model that the avatar was made on.
      judges: see `evaluation.evaluate`.

    Returns:
      Rows as of `evaluation.compare` without landmark_error and strength, with frame (the picture's name).
    """
    judges = judges or {}
    chosen = held_out(against, pairs)
    loaded = avatars.load(folder, flame)
    export = folder / "export" if (folder / "export").is_dir() else folder
    named = next(against / name for name in captures.FILES if (against / name).is_file())
    stamp = {
        "capture": files.sha256(named)[:16],
        "avatar": files.sha256(export / "avatar.ply")[:16],
        "of": len(chosen),
    }
    wanted = {*PICTURE_METRICS, *judges}

    def measure(missing: Sequence[int]) -> Iterator[dict[str, Any]]:
        return compare(loaded, [chosen[k] for k in missing], missing, list(judges.values()))

    return evaluation.resumed(out, stamp, wanted, len(chosen), measure)


def held_out(against: Path, count: int) -> list[captures.Frame]:
    """At most `count` frames, evenly spread over what comes after the capture's first moment."""
    every = captures.load(against)
    later = [frame for frame in every if frame.time > every[0].time]
    if not later:
        raise Refused(f"{against} has one moment alone: its first is the portrait, and nothing is held out")
    return [later[k] for k in np.unique(np.linspace(0, len(later) - 1, count).round().astype(int))]


def compare(
    loaded: Loaded, frames: Sequence[captures.Frame], numbers: Sequence[int], judges: Sequence[Judge]
) -> Iterator[dict[str, Any]]:
    """Measures frames, one dictionary each, as they are done; `numbers` are their pairs' names."""
    own_target = frame_target(loaded.model, jnp.asarray(loaded.avatar.shape))
    for number, frame in zip(numbers, frames, strict=True):
        truth, alpha = picture(frame)
        params = parameters(loaded.model, frame.flame)
        shift = frame_target(loaded.model, jnp.asarray(params.shape[0])) - own_target
        params = params.replace(translation=np.asarray(params.translation) + np.asarray(shift))
        camera = camera_of(frame, truth.shape[:2])
        ((image, cover),) = playback.shown(loaded, params, camera, background=np.ones(3))
        yield {
            "pair": int(number),
            "frame": frame.image.name,
            "yaw": round(yaw(loaded.model, params, camera), 3),
            **differences(image, cover, truth, alpha, int(number), judges),
        }


def picture(frame: captures.Frame) -> tuple[np.ndarray, np.ndarray]:
    """A frame's picture over white [H, W, 3] in 0..1, and its opacity [H, W]: of its mask, or its own."""
    found = load_image(frame.image)
    height, width = found.rgb.shape[:2]
    if abs(width * frame.height - height * frame.width) > max(frame.width, frame.height):
        there = f"{width} x {height} pixels, its camera {frame.width} x {frame.height}"
        raise Refused(f"{frame.image} has {there}")
    alpha = found.alpha if frame.mask is None else load_mask(frame.mask, (height, width))
    if alpha is None:
        alpha = np.ones((height, width), np.float32)
    rgb = found.rgb.astype(np.float32) / 255.0
    return rgb * alpha[..., None] + (1.0 - alpha[..., None]), np.asarray(alpha, np.float32)


def parameters(model: FlameModel, path: Path) -> FlameParams:
    """The capture's FLAME parameters of a frame, [1]."""
    motion = flame_npz.load(path)
    if len(motion.flame.jaw) != 1:
        raise Refused(
            f"{path} has {len(motion.flame.jaw)} frames: each picture of a capture has its own file"
        )
    return drive.retarget(motion, model).flame


def camera_of(frame: captures.Frame, size: tuple[int, int]) -> Camera:
    """The camera [1] of a frame whose picture was read at `size` (height, width)."""
    scale = np.array([size[1] / frame.width, size[0] / frame.height])
    return Camera(
        jnp.asarray(frame.world_to_camera[None], jnp.float32),
        jnp.asarray((frame.focal * scale)[None], jnp.float32),
        jnp.asarray((frame.center * scale)[None], jnp.float32),
        *size,
    )


def yaw(model: FlameModel, params: FlameParams, camera: Camera) -> float:
    """Degrees by which the camera stands to the subject's left of the face, whose head may be turned."""
    pose = jax.tree.map(lambda x: jnp.asarray(x)[0], params)
    middle = jnp.mean(forward(model, pose)[0], 0)
    turn = axis_angle_to_matrix(pose.rotation) @ axis_angle_to_matrix(pose.neck)
    matrix = jnp.asarray(camera.world_to_camera)[0]
    x, _, z = np.asarray(turn.T @ (-matrix[:3, :3].T @ matrix[:3, 3] - middle))
    return float(np.degrees(np.arctan2(x, z)))
