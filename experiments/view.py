"""Shows an exported avatar in the browser, with sliders. It listens on 127.0.0.1 only.

python -m experiments.view --avatar=runs/quickstart
"""

from __future__ import annotations

from dataclasses import dataclass

from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused


@dataclass(frozen=True)
class Options:
    """What to show."""

    avatar: str = option(
        "", "Folder of a finished run, or its export folder, or the triangle-space .ply in it."
    )
    flame: str = option("", "Folder of the FLAME model that the avatar was made on; else the embedded head.")
    arkit: str = option("", "Your own table of what ARKit's shapes ask of FLAME; see docs/assets.md.")
    motion: tuple[str, ...] = option(
        ("demo",), "What can be played: demo, or recordings (docs/formats.md); empty for none."
    )
    motion_fps: float = option(
        0.0, "The recordings' own rate where their files do not tell it; 0 = as animate.", low=0, high=1000
    )
    port: int = option(
        8080, "Port on 127.0.0.1; where it is taken, the next free one; 0 = any.", low=0, high=65535
    )
    host_names: tuple[str, ...] = option(
        (), "Names of this machine besides localhost under which a proxy of yours may offer the page."
    )
    size: int = option(384, "Side of the rasterizer's pictures in pixels.", low=64, high=2048)
    fps: float = option(25.0, "Frames a second.", low=1, high=240)


def main(options: Options) -> None:
    """Loads the avatar and serves until Ctrl-C."""
    if not options.avatar:
        raise Refused("give --avatar=FOLDER")
    if 0 < options.port < 1024:
        raise Refused(f"--port={options.port} is the system's: give one from 1024, or 0 for any free one")

    from pathlib import Path

    from zero1a_jax.outputs import viewer
    from zero1a_jax.showing import animation, stage
    from zero1a_jax.sources import avatars

    loaded = avatars.load(options.avatar, options.flame, options.arkit)
    clips = {}
    for motion in filter(None, options.motion):
        found = animation.movement(loaded, motion, fps=options.fps, motion_fps=options.motion_fps or None)
        clips[Path(motion).name] = viewer.Clip(found, options.fps)
    viewer.serve(
        stage.stage(loaded, size=options.size),
        clips,
        fps=options.fps,
        port=options.port,
        names=options.host_names,
    )


if __name__ == "__main__":
    command.run(Options, main, __doc__)
