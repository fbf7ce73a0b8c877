"""A camera or a film as frames that come in real time.

A camera is opened by PyAV, which reads films here anyway: FFmpeg speaks to cameras on Linux (v4l2), macOS
(avfoundation) and Windows (dshow). OpenCV would do so too, but comes with MediaPipe alone.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator

import av
import av.error
import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.image import film

LONGEST = 640  # pixels of the longer side: a face near a camera is large enough, and less takes less time
_SYSTEMS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "")}


def is_camera(source: str) -> bool:
    """Whether it is a camera's number, or for Windows its name: 0, video=Integrated Camera."""
    return source.isdigit() or source.startswith("video=")


def frames(source: str, *, longest: int = LONGEST) -> Iterator[np.ndarray]:
    """Yields rgb uint8 [H, W, 3] when they come; a film at its own speed, over and over.

    Args:
      source: see `is_camera`, or a film's path.
      longest: larger frames are reduced to it.

    Raises:
      FileNotFoundError: there is no such film. Refused: no such camera, or it is no film. On the first frame.
    """
    if is_camera(source):
        yield from _camera(source, longest)
        return
    for _ in itertools.count():
        start = time.monotonic()
        for seconds, frame in film.frames(source, longest=longest):
            time.sleep(max(0.0, seconds - (time.monotonic() - start)))
            yield frame


def _camera(source: str, longest: int) -> Iterator[np.ndarray]:
    format, pattern = _SYSTEMS.get(sys.platform, _SYSTEMS["linux"])
    device = pattern.format(source) if source.isdigit() else source
    if not device:
        raise Refused(
            f"--live={source}: Windows opens cameras by their name in the system's settings: "
            "--live='video=NAME'"
        )
    if device.startswith(os.sep) and not os.path.exists(device):
        raise Refused(f"--live={source}: there is no camera at {device}")
    yield from opened(device, format, longest)


def opened(device: str, format: str, longest: int) -> Iterator[np.ndarray]:
    """Frames of a device of FFmpeg, such as ("/dev/video0", "v4l2"). Raises Refused if it fails."""
    try:
        container = av.open(device, format=format)
    except av.error.FFmpegError as error:
        raise Refused(f"the camera {device} does not open: {error}; is another program using it?") from error
    with container:
        try:
            for frame in container.decode(video=0):
                scale = min(1.0, longest / max(frame.width, frame.height))
                size = {"width": round(frame.width * scale), "height": round(frame.height * scale)}
                yield frame.reformat(**size, format="rgb24").to_ndarray()
        except av.error.FFmpegError as error:
            raise Refused(f"the camera {device} stopped: {error}") from error
