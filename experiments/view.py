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
    motion: str = option(
        "demo", "What the Play box plays: demo, or a recording (docs/formats.md); empty for none."
    )
    motion_fps: float = option(
        0.0, "The recording's own rate where its file does not tell it; 0 = as animate.", low=0, high=1000
    )
    port: int = option(8080, "Port on 127.0.0.1.", low=1024, high=65535)
    fps: float = option(25.0, "Frames a second.", low=1, high=240)


def main(options: Options) -> None:
    """Loads the avatar and serves until Ctrl-C."""
    if not options.avatar:
        raise Refused("give --avatar=FOLDER")

    import numpy as np

    from zero1a_jax.flame import frame_target, zero_params
    from zero1a_jax.outputs import viewer
    from zero1a_jax.showing import animation, playback
    from zero1a_jax.sources import avatars

    loaded = avatars.load(options.avatar, options.flame, options.arkit)
    target = np.asarray(frame_target(loaded.model, loaded.avatar.shape))
    sequence = None
    if options.motion:
        sequence = animation.movement(
            loaded, options.motion, fps=options.fps, motion_fps=options.motion_fps or None
        )
    print(f"open http://127.0.0.1:{options.port} (Ctrl-C ends)")
    viewer.serve(
        playback.pose_function(loaded),
        zero_params(loaded.model),
        expression_names=loaded.model.expression_names,
        sequence=sequence,
        fps=options.fps,
        target=target.tolist(),
        port=options.port,
    )


if __name__ == "__main__":
    command.run(Options, main, __doc__)
