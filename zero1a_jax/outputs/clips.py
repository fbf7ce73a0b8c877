"""Frames as a video, a GIF or numbered PNGs, by what the name of the output says."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.outputs import encoders, gif, png, video
from zero1a_jax.provenance import Provenance

FORMATS = f"{', '.join(video.CONTAINERS)}, .gif, or a folder for PNGs, FOLDER/"


def is_folder(out: str | os.PathLike) -> bool:
    """Whether `out` asks for a folder of PNGs: by a slash at its end."""
    return os.fspath(out).endswith(("/", os.sep))


def refuse(out: str | os.PathLike, fps: float, *, transparent: bool) -> None:
    """Raises Refused where `write` would, but for what the frames are: before anything slow starts."""
    if is_folder(out):
        there = sorted(Path(out).expanduser().glob("frame_*.png"))
        if there:
            raise Refused(
                f"{there[0]} is there already: give a folder without frames, so that none are mixed"
            )
        return
    suffix = Path(out).suffix.lower()
    if suffix == ".gif":
        if fps > gif.FASTEST:
            raise Refused(f"a .gif shows at most {gif.FASTEST} frames a second, not {fps:g}")
    elif suffix in video.CONTAINERS:
        encoders.choose(suffix, transparent=transparent)
    else:
        raise Refused(f"{os.fspath(out)}: a video is written as {FORMATS}")


def names(out: str | os.PathLike, count: int) -> list[str]:
    """The names of the files that `write` makes of so many frames."""
    if is_folder(out):
        return [f"frame_{number:05d}.png" for number in range(1, count + 1)]
    return [Path(out).name]


def write(
    folder: Path,
    out: str | os.PathLike,
    frames: Iterable[np.ndarray],
    fps: float,
    *,
    provenance: Provenance | None = None,
    sound: str | os.PathLike | None = None,
) -> int:
    """Writes the files of `names` into `folder`; returns how many frames there were.

    Args:
      folder: where the files go, whatever folder `out` names.
      out: its end says the format.
      frames: uint8 [H, W, 3], or [H, W, 4] with straight alpha.
      fps: frames a second. provenance: what the files say of themselves.
      sound: a video whose sound goes along, see `outputs.video.write`; nothing to GIF and PNG.

    Raises:
      Refused: as `refuse`, or the frames are none or not of one size.
    """
    if is_folder(out):
        count = 0
        for count, frame in enumerate(frames, 1):
            files.write_bytes(folder / f"frame_{count:05d}.png", png.encode(frame, provenance))
        return count
    path = folder / Path(out).name
    if path.suffix.lower() == ".gif":
        return gif.write(path, frames, fps, provenance=provenance)
    return video.write(path, frames, fps, provenance=provenance, sound=sound)
