"""Frames a second of an animation on this machine, as a table in markdown.

  taskset -c 1 python -m experiments.benchmarks.playback --avatar=runs/quickstart
  python -m experiments.benchmarks.playback --avatar=runs/quickstart --out=playback.md

Two columns for each size: rendering alone (posed and rendered, on the host), and the whole chain (encoded
as H.264 into a file too). The avatar's Gaussians are repeated or left out to make the numbers asked for.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.errors import Refused

if TYPE_CHECKING:  # else jax would be imported before its settings are made
    from zero1a_jax.types import Avatar


@dataclass(frozen=True)
class Options:
    """What to measure."""

    avatar: str = option("", "Folder of a finished run.")
    sizes: str = option("128,256,512", "Sides of the frames in pixels.")
    gaussians: str = option("10000,50000", "Numbers of Gaussians.")
    frames: int = option(16, "Frames of one timing, after one that compiles.", low=8)
    out: str = option("", "File for the table; else it is only printed.")


def main(options: Options) -> None:
    """Measures every case; prints the table."""
    if not options.avatar:
        raise Refused("give --avatar=FOLDER")
    import jax
    import numpy as np

    from zero1a_jax import files
    from zero1a_jax.flame import frame_target
    from zero1a_jax.outputs import video
    from zero1a_jax.showing import animation, camera_paths
    from zero1a_jax.sources import avatars

    loaded = avatars.load(options.avatar)
    target = frame_target(loaded.model, loaded.avatar.shape)
    flame = jax.tree.map(
        lambda x: np.asarray(x)[: options.frames], animation.movement(loaded, animation.DEMO)
    )
    lines = [
        f"On {len(os.sched_getaffinity(0))} core(s) of the CPU, {options.frames} frames, frames a second:",
        "",
        "| Gaussians | pixels a side | pose and render | pose, render and encode |",
        "|---|---|---|---|",
    ]
    for number in map(int, options.gaussians.split(",")):
        case = loaded._replace(avatar=_of_count(loaded.avatar, number))
        for size in map(int, options.sizes.split(",")):
            rows = camera_paths.path("sway", options.frames, 25)
            views = camera_paths.cameras(target, rows, size, size)

            def alone(case=case, views=views) -> None:
                for _ in animation.pictures(case, flame, views, (1.0, 1.0, 1.0)):
                    pass

            def whole(case=case, views=views) -> None:
                with tempfile.TemporaryDirectory() as folder:
                    images = animation.pictures(case, flame, views, (1.0, 1.0, 1.0))
                    video.write(Path(folder) / "a.mp4", images, 25)

            alone()
            rates = [options.frames / _seconds(work) for work in (alone, whole)]
            lines.append(f"| {number} | {size} | {rates[0]:.1f} | {rates[1]:.1f} |")
            print(lines[-1], flush=True)
    table = "\n".join(lines) + "\n"
    print(table)
    if options.out:
        files.write_text(options.out, table)


def _seconds(work: Callable[[], None], times: int = 2) -> float:
    """The shortest of a few runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def _of_count(avatar: Avatar, number: int) -> Avatar:
    """The avatar with `number` living Gaussians, drawn evenly, some of them more than once."""
    import jax
    import numpy as np

    slots = len(avatar.alive)
    living = np.flatnonzero(np.asarray(avatar.alive))
    index = living[np.arange(number) * len(living) // number]
    return jax.tree.map(lambda x: x[index] if np.ndim(x) and len(x) == slots else x, avatar)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
