"""Reading films frame by frame: upright, in square pixels, each with its own time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from zero1a_jax.errors import Refused

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".m4v")
FPS = 25.0  # where a file tells neither rate nor times
FASTEST = 240.0  # a rate above is a time base, not a rate
MAX_SIDE = 8192
_UNTAGGED = 2  # FFmpeg's AVCOL_SPC_UNSPECIFIED
HD = 720  # rows from which an untagged video is BT.709, as players guess


class Film(NamedTuple):
    """What a video's header says; frames are counted by its duration where the header has no count."""

    fps: float  # average
    count: int | None  # frames, None where the header cannot tell


def about(path: str | os.PathLike) -> Film:
    """The rate and the length of a video.

    Raises FileNotFoundError where there is no file, Refused where it holds no readable video.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        fps = _rate(stream)
        if stream.frames:
            return Film(fps, stream.frames)
        if stream.duration is not None and stream.time_base is not None:
            return Film(fps, max(1, round(float(stream.duration * stream.time_base) * fps)))
        duration = container.duration
        return Film(fps, None if not duration else max(1, round(duration / 1e6 * fps)))


def frames(path: str | os.PathLike, *, longest: int | None = None) -> Iterator[tuple[float, np.ndarray]]:
    """Yields (seconds since the first frame, rgb uint8 [H, W, 3]) of a video, one frame at a time.

    Rotation that the file asks for is applied, pixels that are not square are made so, and times are the
    file's own, so that a variable rate stays what it is; they always increase. Packets that cannot be decoded
    are left out.

    Args:
      path: the video, of any kind that FFmpeg reads.
      longest: frames whose longer side has more pixels are reduced to it.

    Raises:
      FileNotFoundError: there is no such file.
      Refused: it holds no readable video, or frames above 8192 pixels a side. Both on the first frame.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        step = 1.0 / _rate(stream)
        first, last, number = None, -step, 0
        for frame in _decoded(container, path):
            if max(frame.width, frame.height) > MAX_SIDE:
                raise Refused(f"{path}: frames are {frame.width} x {frame.height}, at most {MAX_SIDE} a side")
            told = frame.time
            first = told if first is None else first
            seconds = number * step if told is None or first is None else told - first
            if seconds <= last:  # a broken clock
                seconds = last + step
            last, number = seconds, number + 1
            yield seconds, _upright(frame, _aspect(frame, stream), longest)
        if not number:
            raise Refused(f"{path} holds no frames")


def _opened(path: str | os.PathLike) -> InputContainer:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no video at {path}")
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        raise Refused(f"{path} is not a readable video: {error}") from error
    if not container.streams.video:
        container.close()
        raise Refused(f"{path} holds no video stream")
    return container


def _decoded(container: InputContainer, path: str | os.PathLike) -> Iterator[VideoFrame]:
    """The frames; damaged packets are skipped, and the film ends where the file does."""
    shown = False
    try:
        for packet in container.demux(video=0):
            try:
                decoded = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in decoded:
                shown = True
                yield frame  # type: ignore[misc]
    except av.error.FFmpegError as error:
        if not shown:
            raise Refused(f"{path} is not a readable video: {error}") from error


def _rate(stream: VideoStream) -> float:
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((float(rate) for rate in rates if rate and 0 < rate <= FASTEST), FPS)


def _aspect(frame: VideoFrame, stream: VideoStream) -> float:
    """Width of a pixel over its height."""
    ratio = stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio
    return float(ratio) if ratio and 0.1 < ratio < 10 else 1.0


def _upright(frame: VideoFrame, aspect: float, longest: int | None) -> np.ndarray:
    width, height = frame.width * max(aspect, 1.0), frame.height / min(aspect, 1.0)
    scale = min(1.0, longest / max(width, height)) if longest else 1.0
    hd = frame.colorspace == _UNTAGGED and frame.height >= HD
    modern = frame.format.name.startswith("yuv") and (frame.colorspace == Colorspace.ITU709 or hd)
    image = frame.reformat(
        width=max(1, round(width * scale)),
        height=max(1, round(height * scale)),
        format="rgb24",
        src_colorspace=Colorspace.ITU709 if modern else None,
    ).to_ndarray()
    turns = round(frame.rotation / 90.0) % 4  # counter-clockwise, as numpy turns
    return np.ascontiguousarray(np.rot90(image, turns))
