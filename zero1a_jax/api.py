"""What `import zero1a_jax` offers: from a picture to an avatar, and what one does with it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from zero1a_jax import config, preprocess
from zero1a_jax.commandline import flagfiles
from zero1a_jax.errors import Refused
from zero1a_jax.flame import frame_target, procedural_head
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.showing import animation, exports, living, playback, poses
from zero1a_jax.sources import arkit_table, avatars, heads, portraits
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.training import progress
from zero1a_jax.types import FlameParams, Motion, Portrait

__all__ = ["animate", "export", "first_avatar", "load", "prepare", "procedural_head", "render", "run"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _in_float32(function: Function) -> Function:
    """The function as the commands run it, also where JAX_ENABLE_X64 is set."""

    @functools.wraps(function)
    def same(*arguments: Any, **options: Any) -> Any:
        with jax.enable_x64(False):
            return function(*arguments, **options)

    return cast(Function, same)


@_in_float32
def prepare(
    image: str | os.PathLike | Image.Image | np.ndarray,
    *,
    size: int = 128,
    background: str = "white",
    mask: str | os.PathLike | None = None,
    face_index: int = 0,
    flame: str = "",
    assets: str = "",
    accept_unsure: bool = False,
) -> Portrait:
    """Finds the face in a picture, fits the head to it and cuts the person out.

    Args:
      image: a path, "synthetic:SEED" for a person who does not exist, a Pillow image, or an array [H, W, 3]
        uint8.
      size: side of the portrait in pixels.
      background: "white", "black", "#rrggbb", or "keep" for the picture's own.
      mask: a picture of the same size, white where the person is; else the program finds out.
      face_index: which face of several, 0 the largest.
      flame: folder of a FLAME model; else the embedded head.
      assets: folder with MediaPipe's models, else ZERO1A_ASSETS, else the embedded detector.
      accept_unsure: go on with a fit that is most likely wrong.

    Returns:
      Portrait: rgb [size, size, 3] and alpha [size, size] in 0..1, landmarks [105, 2] in pixels, the camera,
      and the head's parameters.

    Raises:
      zero1a_jax.errors.Refused: the picture cannot be used; NoFace, a Refused, where it shows no face.
    """
    picture = portraits.source(image) if isinstance(image, str) else image
    return preprocess.prepare(
        picture,
        model=heads.load(flame),
        detector=preprocess.find_detector(assets or None),
        size=size,
        background=background,
        mask=mask,
        segmenter=preprocess.find_segmenter(assets or None),
        face_index=face_index,
        accept_unsure=accept_unsure,
    )


def first_avatar(portrait: Portrait, *, flame: str = "", arkit: str = "") -> Loaded:
    """The avatar that a run starts from: Gaussians on the fitted head, coloured by the portrait, untrained.

    It takes seconds. What the portrait does not show, such as the inside of the mouth, is guessed.

    Args:
      portrait: from `prepare`, or made of arrays of your own.
      flame, arkit: as for `load`; the head must be the one that the portrait was fitted with.

    Returns:
      The avatar, as `load` gives it: it can be rendered, animated and exported.

    Raises:
      zero1a_jax.errors.Refused: the portrait was fitted with another head.
    """
    model = heads.load(flame)
    given, known = np.shape(portrait.flame.shape)[-1], np.shape(model.shape_basis)[-1]
    if given != known:
        raise Refused(f"the portrait has {given} shape coefficients, the head {model.version} has {known}")
    avatar = progress.first_avatar(config.Config(), model, portrait)
    meta = {"flame_version": model.version, "faces": len(model.faces), "size": portrait.rgb.shape[0]}
    return Loaded(avatars.padded(avatar), model, meta, arkit_table.load(model, arkit))


def run(
    image: str | os.PathLike, workdir: str | os.PathLike, *, flagfile: str = "quickstart.flags", **flags: Any
) -> Loaded:
    """Makes an avatar of a portrait, in a process of its own: its bits are those of the command `run`.

    It takes minutes at least and shows its progress. The same call resumes a run that was interrupted, and
    returns at once what a finished one made.

    Args:
      image: a picture, a folder that `python -m zero1a_jax prepare` wrote, or "synthetic:SEED".
      workdir: the folder of the run; report.html in it is for the eye.
      flagfile: a path, or the name of one that comes along: quickstart.flags, zero1a.flags.
      flags: any flag of the command, such as steps=300 or motions=("a.csv", "b.csv"); see zero1a_jax.config.

    Returns:
      The avatar, as `load` gives it.

    Raises:
      zero1a_jax.errors.Refused: a flag that does not exist, or the run failed, for a reason that it printed.
    """
    given = {"image": os.fspath(image), "workdir": os.fspath(workdir), **flags}
    config.from_values(given)
    command = [sys.executable, "-m", "zero1a_jax", "run", f"--flagfile={flagfile}"]
    command += [f"--{name}={flagfiles.value_text(value)}" for name, value in given.items()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:  # a notebook shows what is printed here, not what a child prints
            print(line, end="", flush=True)
    if process.returncode:
        raise Refused(f"the run in {workdir} ended with exit code {process.returncode}; its reason is above")
    return load(workdir, flame=str(flags.get("flame", "")), arkit=str(flags.get("arkit", "")))


@_in_float32
def load(folder: str | os.PathLike, *, flame: str = "", arkit: str = "") -> Loaded:
    """Reads an avatar: the folder of a finished run, its export/, or what `export` wrote.

    Args:
      folder: where it is.
      flame: folder of the FLAME model that the avatar was made on; else the embedded head.
      arkit: your own table of what ARKit's shapes ask of FLAME.

    Returns:
      A named tuple: `avatar` (Gaussians in the frames of triangles), `model` (the head), `meta`, `arkit`.

    Raises:
      FileNotFoundError: no avatar there. zero1a_jax.errors.Refused: damaged, or made on another head.
    """
    return avatars.load(Path(folder), flame, arkit)


@_in_float32
def render(
    avatar: Loaded,
    pose: Mapping[str, float] | FlameParams | None = None,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    size: int = 256,
    background: str = "white",
) -> np.ndarray:
    """One picture of an avatar.

    Args:
      avatar: from `load` or `run`.
      pose: ARKit weights by name, such as {"jawOpen": 0.6, "eyeBlinkLeft": 1.0}, each 0..1; or the head's own
        parameters, without leading axes; None is the neutral face.
      yaw, pitch: degrees of the camera around the head; yaw above 0 stands at the subject's left.
      size: pixels a side. background: "white", "black" or "#rrggbb".

    Returns:
      uint8 [size, size, 3].

    Raises:
      zero1a_jax.errors.Refused: a shape that the head does not know, or no colour.
    """
    if not isinstance(pose, FlameParams):
        pose = poses.from_arkit(avatar.model, dict(pose or {}), avatar.arkit)
    target = frame_target(avatar.model, avatar.avatar.shape)
    camera = portrait_camera(target, jnp.radians(jnp.array([yaw])), jnp.radians(jnp.array([pitch])), size)
    flame = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], pose)
    behind = np.array(config.colour(background), np.float32)
    ((rgb, _),) = playback.shown(avatar, flame, camera, background=behind)
    return as_uint8(rgb)


@_in_float32
def animate(
    avatar: Loaded,
    motion: str | os.PathLike | Motion = animation.DEMO,
    *,
    out: str | os.PathLike,
    size: int | str = 256,
    fps: float = 25.0,
    background: str = "white",
    **options: Any,
) -> int:
    """Renders an avatar along a motion and writes a video; returns how many frames it has.

    Args:
      avatar: from `load` or `run`.
      motion: "demo", a video of a face, a Live Link Face .csv, FLAME or VHAP .npz or a folder of them, SHOW's
        .pkl, TalkSHOW's .npy, or a Motion.
      out: .mp4, .mov, .mkv, .webm, .gif, or FOLDER/ with a slash for numbered PNGs.
      size: pixels a side, or "WIDTHxHEIGHT". fps: frames a second of the video.
      background: "white", "black", "#rrggbb" or "transparent".
      options: motion_fps, smooth, expression, root, how, assets, camera, beside, frames, label, overwrite,
        report; see `showing.animation.write`.

    Raises:
      FileNotFoundError: no motion there. zero1a_jax.errors.Refused: the motion cannot drive this head, or
      another file is at `out`.
    """
    behind = None if background == "transparent" else config.colour(background)
    return animation.write(avatar, motion, out, size=size, fps=fps, background=behind, **options)


@_in_float32
def export(
    avatar: Loaded,
    folder: str | os.PathLike,
    pose: Mapping[str, float] | FlameParams | None = None,
    *,
    to: str = "ply",
    motion: str | os.PathLike | Motion | None = None,
    motions: Sequence[str | os.PathLike] = (),
    fps: float = 25.0,
    frames: int = 0,
    pad_sh: int = 0,
    overwrite: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Path]:
    """Writes an avatar for other programs, or as a page; all files or none; see docs/formats.md.

    Args:
      avatar: from `load` or `run`.
      folder: made where it is missing; files of other names in it stay.
      pose: of what stands still, as `render`'s; None is the neutral face.
      to: "ply", "page" (avatar.html, the living head with its sliders), "glb" (an animated mesh),
        "gaussianavatars", "spz", "sog", "delta_ply" (Gaussians that move, for CAP4D's viewer), "coefficients"
        (.npz) or "livelink" (.csv).
      motion: as `animate`'s: "ply" then writes one world-space file a frame, "glb" an animation,
        "gaussianavatars" a sequence; the last three kinds need one.
      motions: recordings that the page can play; an avatar on FLAME plays its own alone.
      fps: frames a second of the motion. frames: at most so many of it; 0 = all.
      pad_sh: degree up to which harmonics of world-space files are filled with zeros, for strict viewers.
      overwrite: replace also files of these names that we did not write, or that were changed since.
      report: told (done, all): of "ply" with a motion the frames, of "glb" the views of its texture.

    Returns:
      The paths by what they are; of "ply" without a motion "triangle" (avatar.ply, in the frames of
      triangles, GaussianAvatars' layout), "world" (avatar_world.ply, the head in that pose, for any splat
      viewer), "shape" and "meta" (what `load` needs).

    Raises:
      zero1a_jax.errors.Refused: a shape that the head does not know, a head whose licence does not allow
      it, a tool that is not installed, or files that are not ours.
    """
    if to not in exports.KINDS:
        raise Refused(f"to={to} must be one of {', '.join(exports.KINDS)}")
    if pad_sh not in (0, 1, 2, 3):
        raise Refused(f"pad_sh={pad_sh} must be a degree from 0 to 3")
    if frames < 0:
        raise Refused(f"frames={frames} must be 0, for all, or more")
    if to == "page":
        return {"page": living.write(avatar, folder, motions=motions, overwrite=overwrite)}
    if not isinstance(pose, FlameParams):
        pose = poses.from_arkit(avatar.model, dict(pose or {}), avatar.arkit)
    return exports.write(
        avatar,
        folder,
        pose,
        to=to,
        motion=motion,
        fps=fps,
        frames=frames,
        degree=pad_sh,
        overwrite=overwrite,
        report=report,
    )
