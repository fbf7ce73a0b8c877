"""An avatar as files that other programs open, or as a page with the living head.

  python -m experiments.export --avatar=runs/quickstart --out=FOLDER
  python -m experiments.export --avatar=runs/quickstart --pose=jawOpen:0.6,eyeBlinkLeft:1 --out=FOLDER
  python -m experiments.export --avatar=runs/quickstart --to=page --motions=take.csv --out=FOLDER

docs/formats.md says what is in them.
"""

from __future__ import annotations

from dataclasses import dataclass

from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused


@dataclass(frozen=True)
class Options:
    """What to write."""

    avatar: str = option(
        "", "Folder of a finished run, or its export folder, or the triangle-space .ply in it."
    )
    flame: str = option("", "Folder of the FLAME model that the avatar was made on; else the embedded head.")
    arkit: str = option("", "Your own table of what ARKit's shapes ask of FLAME; see docs/assets.md.")
    to: str = option(
        "ply",
        "ply: in the frames of the triangles, and posed in the world; page: avatar.html, for any browser.",
        choices=("ply", "page"),
    )
    motions: tuple[str, ...] = option((), "Recordings that the page can play (docs/formats.md).")
    pose: tuple[str, ...] = option((), "ARKit shapes of avatar_world.ply, as jawOpen:0.6; else neutral.")
    out: str = option("", "Folder for the files; made where it is missing.")
    overwrite: bool = option(False, "Replace files of these names that are not what was written there.")


def main(options: Options) -> None:
    """Writes the files and prints their paths."""
    if not options.avatar or not options.out:
        raise Refused("give --avatar=FOLDER and --out=FOLDER")
    pose = dict(weight(text) for text in options.pose)
    if options.pose and options.to == "page" or options.motions and options.to == "ply":
        raise Refused("--pose is for --to=ply, --motions for --to=page")
    from zero1a_jax import api

    avatar = api.load(options.avatar, flame=options.flame, arkit=options.arkit)
    written = api.export(
        avatar, options.out, pose, to=options.to, motions=options.motions, overwrite=options.overwrite
    )
    for path in written.values():
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
