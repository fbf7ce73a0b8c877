"""Renders an exported avatar along a motion.

  python -m experiments.animate --avatar=runs/quickstart --motion=demo --out=demo.mp4
  python -m experiments.animate --avatar=runs/quickstart --motion=face.csv --out=face.mp4
  python -m experiments.animate --avatar=runs/quickstart --motion=me.mov --assets=FOLDER --beside --out=me.mp4
  python -m experiments.animate --avatar=runs/quickstart --motion=takes --out=videos
  python -m experiments.animate --avatar=runs/quickstart --motion=me.mov --region=mouth --out=lips.mp4
  python -m experiments.animate --avatar=runs/quickstart --motion=face.csv --camera=orbit \\
      --background=transparent --size=512x768 --out=face.webm

Motions: "demo" (turns, blinks, smiles), a video of a face (.mp4, .mov, .mkv, .webm, .avi, .gif), a .csv of
Live Link Face, a .csv or .json of MediaPipe's blendshapes, an .npz of FLAME (VHAP, GaussianAvatars, DECA,
EMOCA, SMIRK) or a folder of those, a .pkl of SHOW or .npy of TalkSHOW. A folder of motions animates all: then
--out is a folder too. Videos need MediaPipe and its face_landmarker.task in --assets or ZERO1A_ASSETS.
--region, --strength, --head_turn, --blink, --gaze and --calibrate say how the avatar takes a motion over;
docs/formats.md says more. An avatar on FLAME needs --flame=FOLDER.

Outputs: .mp4, .mov, .mkv (H.264), .webm (VP9), .gif, or FOLDER/ with a slash for frame_00001.png and so on.
A transparent background goes into .webm, .mov (ProRes 4444), .gif and PNGs. Ctrl-C ends the video after the
frames that are done.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zero1a_jax.commandline import command, progress
from zero1a_jax.config import colour, option, out_of_range
from zero1a_jax.errors import Refused
from zero1a_jax.retargeting import AS_RECORDED, Retargeting

if TYPE_CHECKING:
    from zero1a_jax.sources.avatars import Loaded


@dataclass(frozen=True)
class Options:
    """What to render."""

    avatar: str = option(
        "", "Folder of a finished run, or its export folder, or the triangle-space .ply in it."
    )
    flame: str = option("", "Folder of the FLAME model that the avatar was made on; else the embedded head.")
    arkit: str = option("", "Your own table of what ARKit's shapes ask of FLAME; see docs/assets.md.")
    motion: str = option(
        "demo",
        "demo, a video of a face, Live Link Face's .csv, MediaPipe's .csv / .json, a FLAME .npz or folder of "
        "them, SHOW's .pkl, TalkSHOW's .npy; or a folder of motions.",
    )
    assets: str = option(
        "", "Folder with face_landmarker.task, which reads videos; without it the variable ZERO1A_ASSETS."
    )
    out: str = option(
        "",
        "What to write: .mp4, .mov, .mkv, .webm, .gif, or FOLDER/ for PNGs; for several motions a folder.",
    )
    size: str = option("256", "Side of the frames in pixels, or WIDTHxHEIGHT such as 512x768.")
    fps: float = option(25.0, "Frames a second of the video; motions are resampled to it.", low=1, high=240)
    motion_fps: float = option(
        0.0,
        "The recording's own rate; 0 = by its times, else 60 for Live Link, 25 for .npz, 30 for others.",
        low=0,
        high=1000,
    )
    smooth: int = option(1, "Frames of the moving average; odd, 1 = none.", low=1, high=99)
    expression: str = option(
        "match",
        "drop: take over the joints' rotations alone, for motions of another head model.",
        choices=("match", "drop"),
    )
    root: str = option(
        "drop", "keep: the motion's own global rotation and translation.", choices=("drop", "keep")
    )
    camera: str = option(
        "fixed",
        "fixed (the demo turns all the same), orbit (around in 8 s), sway (20 degrees each way in 4 s), or "
        "a .json or .csv of yaw, pitch, radius of each frame.",
    )
    background: str = option("white", "white, black, #rrggbb or transparent.")
    beside: bool = option(False, "Show the driving video at the left, where --motion is one.")
    frames: int = option(0, "At most so many frames; 0 = all.", low=0)
    label: bool = option(False, 'Write "synthetic" in a corner of every frame.')
    overwrite: bool = option(False, "Replace also a video at --out that others wrote or edited.")
    how: Retargeting = AS_RECORDED


def main(options: Options) -> int:
    """Loads, renders, writes; prints the paths."""
    if not options.avatar or not options.out:
        raise Refused("give --avatar=FOLDER and --out=VIDEO")
    if options.smooth % 2 == 0:
        raise Refused(f"--smooth={options.smooth} must be odd, or time would shift by half a frame.")
    background = None if options.background == "transparent" else colour(options.background)

    from zero1a_jax.outputs import clips
    from zero1a_jax.showing import camera_paths
    from zero1a_jax.sources import avatars, motions

    if options.camera not in camera_paths.NAMED:
        camera_paths.load(options.camera)
    several = [] if options.motion == "demo" else motions.within(options.motion)
    if several and Path(options.out).suffix:
        raise Refused(f"--motion={options.motion} is a folder of motions: give a folder as --out as well")
    suffix = ".webm" if background is None else ".mp4"  # of the videos of several motions
    clips.refuse(f"a{suffix}" if several else options.out, options.fps, transparent=background is None)
    loaded = avatars.load(options.avatar, options.flame, options.arkit)
    if not several:
        _animate(loaded, options, options.motion, options.out)
        return 0
    stems = [path.stem for path in several]
    failed = 0
    for number, path in enumerate(several, 1):
        name = path.stem if stems.count(path.stem) == 1 else path.name
        print(f"{number} of {len(several)}: {path.name}", flush=True)
        try:
            _animate(loaded, options, str(path), str(Path(options.out) / f"{name}{suffix}"))
        except (Refused, OSError) as error:
            failed += 1
            print(f"error: {path.name}: {command.sentence(error)}", file=sys.stderr, flush=True)
    if failed:
        print(f"error: {failed} of {len(several)} motions were left out", file=sys.stderr)
    return int(failed > 0)


def _animate(loaded: Loaded, options: Options, motion: str, out: str) -> None:
    from zero1a_jax.showing import animation

    count = animation.write(
        loaded,
        motion,
        out,
        size=options.size,
        fps=options.fps,
        motion_fps=options.motion_fps or None,
        smooth=options.smooth,
        expression=options.expression,  # type: ignore[arg-type]
        root=options.root,  # type: ignore[arg-type]
        how=options.how,
        assets=options.assets or None,
        camera=options.camera,
        background=None if options.background == "transparent" else colour(options.background),
        beside=options.beside,
        frames=options.frames,
        label=options.label,
        overwrite=options.overwrite,
        report=progress.reporter("frames"),
    )
    print(f"{out}: {count} frames at {options.fps:g} a second", flush=True)


def problems(options: Options) -> list[str]:
    """What is wrong with the options by themselves."""
    from zero1a_jax.showing import camera_paths

    found = out_of_range(options)
    try:
        camera_paths.size_of(options.size)
    except Refused as error:
        found.append(str(error))
    return found


if __name__ == "__main__":
    command.run(Options, main, __doc__, problems=problems)
