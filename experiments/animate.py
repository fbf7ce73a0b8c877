"""Renders an exported avatar along a motion.

  python -m experiments.animate --avatar=runs/quickstart --motion=demo --out=demo.mp4
  python -m experiments.animate --avatar=runs/quickstart --motion=face.csv --out=face.mp4
  python -m experiments.animate --avatar=runs/quickstart --motion=me.mov --assets=FOLDER --out=me.mp4
  python -m experiments.animate --avatar=runs/quickstart --motion=takes --out=videos
  python -m experiments.animate --avatar=runs/quickstart --motion=me.mov --region=mouth --out=lips.mp4
  python -m experiments.animate --avatar=runs/quickstart --motion=face.csv --camera=orbit \
      --background=transparent --out=face.webm

Motions: "demo" (turns, blinks, smiles), a video of a face (.mp4, .mov, .mkv, .webm, .avi, .gif), a .csv of
Live Link Face, a .csv or .json of MediaPipe's blendshapes, an .npz of FLAME (VHAP, GaussianAvatars, DECA,
EMOCA, SMIRK) or a folder of those, a .pkl of SHOW or .npy of TalkSHOW. A folder of motions animates all: then
--out is a folder too. Videos need MediaPipe and its face_landmarker.task in --assets or ZERO1A_ASSETS.
--region, --strength, --head_turn, --blink, --gaze and --calibrate say how the avatar takes a motion over;
docs/formats.md says more. An avatar on FLAME needs --flame=FOLDER. Ctrl-C ends the video where it is.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zero1a_jax.commandline import command
from zero1a_jax.config import colour, option
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
        "What to write: .mp4, .mov, .mkv, .webm, .gif; a name without a suffix is a folder of .png, or of a "
        "folder of motions the folder of their videos.",
    )
    size: str = option("256", "Side of the frames in pixels, or WIDTHxHEIGHT; 32 to 2048.")
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
    camera: str = option("front", "front, sway, orbit, or a table of yaw, pitch and distance a frame.")
    background: str = option("white", "white, black, #rrggbb, or transparent (.webm, .mov, .gif, .png).")
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
    transparent = options.background == "transparent"
    if not transparent:
        colour(options.background)
    sides(options.size)

    from zero1a_jax.outputs import moving
    from zero1a_jax.sources import avatars, motions

    several = [] if options.motion == "demo" else motions.within(options.motion)
    if several and Path(options.out).suffix:
        raise Refused(f"--motion={options.motion} is a folder of motions: give a folder as --out as well")
    moving.refuse(options.out, transparent=transparent)
    loaded = avatars.load(options.avatar, options.flame, options.arkit)
    if not several:
        _animate(loaded, options, options.motion, options.out)
        return 0
    stems, suffix = [path.stem for path in several], ".webm" if transparent else ".mp4"
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
        size=sides(options.size),
        fps=options.fps,
        motion_fps=options.motion_fps or None,
        smooth=options.smooth,
        expression=options.expression,  # type: ignore[arg-type]
        root=options.root,  # type: ignore[arg-type]
        how=options.how,
        assets=options.assets or None,
        camera=options.camera,
        background=None if options.background == "transparent" else colour(options.background),
        frames=options.frames,
        label=options.label,
        overwrite=options.overwrite,
    )
    print(f"{out}: {count} frames at {options.fps:g} a second", flush=True)


def sides(size: str | int) -> tuple[int, int]:
    """Width and height from "256" or "512x768". Refused for anything else."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", str(size))
    pair = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(32 <= side <= 2048 for side in pair):
        raise Refused(f"--size={size} must be pixels as 256 or 512x768, from 32 to 2048 a side.")
    return pair


if __name__ == "__main__":
    command.run(Options, main, __doc__)
