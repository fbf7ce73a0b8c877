"""An avatar as files that other programs open, or as a page with the living head.

  python -m experiments.export --avatar=runs/quickstart --out=FOLDER
  python -m experiments.export --avatar=runs/quickstart --pose=jawOpen:0.6,eyeBlinkLeft:1 --out=FOLDER
  python -m experiments.export --avatar=runs/quickstart --to=page --motions=take.csv --out=FOLDER
  python -m experiments.export --avatar=runs/quickstart --to=glb --motion=take.csv --out=FOLDER

docs/formats.md says what is in them.
"""

from __future__ import annotations

from dataclasses import dataclass

from zero1a_jax.commandline import command, progress
from zero1a_jax.config import option
from zero1a_jax.errors import Refused

KINDS = ("ply", "page", "glb", "gaussianavatars", "spz", "sog", "delta_ply", "coefficients", "livelink")
SHOWN = 8  # paths that are printed; of more the first and the last


@dataclass(frozen=True)
class Options:
    """What to write."""

    avatar: str = option(
        "",
        "Folder of a finished run, its export folder or the .ply in it; or GaussianAvatars' folder or .ply.",
    )
    flame: str = option("", "Folder of the FLAME model that the avatar was made on; else the embedded head.")
    arkit: str = option("", "Your own table of what ARKit's shapes ask of FLAME; see docs/assets.md.")
    to: str = option(
        "ply",
        "ply; page: avatar.html, for any browser; glb: an animated mesh; gaussianavatars; spz, sog: small "
        "splats; delta_ply: for CAP4D's viewer; coefficients: .npz; livelink: .csv.",
        choices=KINDS,
    )
    motion: str = option(
        "", "A motion (docs/formats.md): of ply a file a frame, of glb an animation. Or demo."
    )
    fps: float = option(25.0, "Frames a second of --motion.", low=1, high=240)
    frames: int = option(0, "At most so many frames of --motion; 0 = all.", low=0)
    motions: tuple[str, ...] = option((), "Recordings that the page can play (docs/formats.md).")
    pose: tuple[str, ...] = option((), "ARKit shapes of what stands still, as jawOpen:0.6; else neutral.")
    pad_sh: int = option(0, "Fill harmonics of world-space files up to this degree; SIBR and Unity want 3.")
    out: str = option("", "Folder for the files; made where it is missing.")
    overwrite: bool = option(False, "Replace files of these names that are not what was written there.")


def main(options: Options) -> None:
    """Writes the files and prints their paths."""
    if not options.avatar or not options.out:
        raise Refused("give --avatar=FOLDER and --out=FOLDER")
    pose = dict(weight(text) for text in options.pose)
    still = options.to in ("ply", "glb", "spz", "sog") and not (options.to == "ply" and options.motion)
    if options.pose and not still:
        raise Refused("--pose is for what stands still: --to=ply, glb, spz or sog")
    if options.motions and options.to != "page":
        raise Refused("--motions is for --to=page; of other files give --motion")
    if options.motion and options.to in ("page", "spz", "sog"):
        raise Refused(f"--motion is not for --to={options.to}")
    from zero1a_jax import api

    written = api.export(
        api.load(options.avatar, flame=options.flame, arkit=options.arkit),
        options.out,
        pose,
        to=options.to,
        motion=options.motion or None,
        motions=options.motions,
        fps=options.fps,
        frames=options.frames,
        pad_sh=options.pad_sh,
        overwrite=options.overwrite,
        report=progress.reporter("views" if options.to == "glb" else "frames"),
    )
    paths = list(written.values())
    for path in paths if len(paths) <= SHOWN else (paths[0], paths[-1]):
        print(path)


def weight(text: str) -> tuple[str, float]:
    """A shape and its weight from NAME:WEIGHT. Refused for anything else."""
    name, _, number = text.partition(":")
    try:
        return name, float(number)
    except ValueError as error:
        raise Refused(f"--pose={text} must be NAME:WEIGHT, such as jawOpen:0.6.") from error


if __name__ == "__main__":
    command.run(Options, main, __doc__)
