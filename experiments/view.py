"""Shows an avatar in the browser, with sliders; of a run that goes on the newest. On 127.0.0.1 only.

python -m experiments.view --avatar=runs/quickstart
python -m experiments.view --avatar=runs/quickstart --live=0
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused


@dataclass(frozen=True)
class Options:
    """What to show."""

    avatar: str = option(
        "",
        "Folder of a run, also of one that goes on, or its export folder, or the triangle-space .ply in it.",
    )
    flame: str = option("", "Folder of the FLAME model that the avatar was made on; else the embedded head.")
    arkit: str = option("", "Your own table of what ARKit's shapes ask of FLAME; see docs/assets.md.")
    motion: tuple[str, ...] = option(
        ("demo",), "What can be played: demo, or recordings (docs/formats.md); empty for none."
    )
    motion_fps: float = option(
        0.0, "The recordings' own rate where their files do not tell it; 0 = as animate.", low=0, high=1000
    )
    live: str = option(
        "", "What drives the avatar while it happens: a camera's number, such as 0, or a video file."
    )
    assets: str = option("", "Folder with face_landmarker.task, for --live; else ZERO1A_ASSETS.")
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

    from zero1a_jax.image import capture
    from zero1a_jax.outputs import viewer
    from zero1a_jax.showing import animation, live, stage
    from zero1a_jax.sources import avatars
    from zero1a_jax.training import following

    opened = live_landmarker(options) if options.live else None
    folder, followed = Path(options.avatar).expanduser(), None
    if following.is_run(folder):
        followed = following.Run(folder, flame=options.flame, arkit=options.arkit, size=options.size)
    if followed is not None and not following.is_finished(folder):
        loaded = followed.first()
    else:
        loaded = avatars.load(folder, options.flame, options.arkit)
    clips = {}
    for motion in filter(None, options.motion):
        found = animation.movement(loaded, motion, fps=options.fps, motion_fps=options.motion_fps or None)
        clips[Path(motion).name] = viewer.Clip(found, options.fps)
    shown = stage.stage(loaded, size=options.size)
    with contextlib.ExitStack() as stack:
        driver = None
        if opened is not None:
            driver = stack.enter_context(live.Driver(capture.frames(options.live), opened, shown.params))
        viewer.serve(
            shown,
            clips,
            fps=options.fps,
            port=options.port,
            names=options.host_names,
            live=driver,
            followed=followed,
        )
        if driver is not None and driver.latency is not None:
            print(driver.status())


def live_landmarker(options: Options) -> Any:
    """Opens MediaPipe's landmarker. Raises Refused or FileNotFoundError where something lacks."""
    from zero1a_jax.image import capture
    from zero1a_jax.preprocess import detect
    from zero1a_jax.preprocess.detect_mediapipe import landmarker_opener

    tried = capture.frames(options.live)
    next(tried)
    tried.close()
    file = detect.landmarker(options.assets or None)
    if file is None:
        raise Refused(
            f"--live needs MediaPipe's {detect.MEDIAPIPE_FILE}: give its folder as --assets or ZERO1A_ASSETS "
            "(docs/assets.md)"
        )
    return landmarker_opener(file)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
