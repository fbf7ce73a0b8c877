"""The sound of one video carried over into another: AAC, or Opus in .webm."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import cast

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

_RATE = 48000  # samples a second; Opus knows no 44100


class Track:
    """The sound that goes into one container; without a source it does nothing."""

    def __init__(self, container: OutputContainer, source: InputContainer | None):
        self._container, self._seconds = container, 0.0
        self._stream: AudioStream | None = None
        if source is None or not source.streams.audio:
            return
        name = "libopus" if container.format.name.split(",")[0] == "webm" else "aac"
        self._stream = cast(AudioStream, container.add_stream(name, rate=_RATE))
        self._stream.layout = "stereo"
        self._frames = _resampled(source, self._stream)

    def until(self, seconds: float) -> None:
        """Encodes the source's sound up to a time, as far as it reaches."""
        while self._stream is not None and self._seconds < seconds:
            frame = next(self._frames, None)
            if frame is None:
                self._seconds = float("inf")
                return
            frame.pts = round(self._seconds * _RATE)
            self._seconds += frame.samples / _RATE
            self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Writes what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())


@contextlib.contextmanager
def track(container: OutputContainer, source: str | os.PathLike | None) -> Iterator[Track]:
    """The sound of the video at `source`, None for none, as a new stream of `container`."""
    if source is None:
        yield Track(container, None)
        return
    with av.open(str(source)) as opened:
        yield Track(container, opened)


def _resampled(source: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """The source's sound as frames of the encoder's kind and size, their clock from the first frame on."""
    context = stream.codec_context
    context.open(strict=False)  # the first frame of the video may have opened it
    resampler = av.AudioResampler(context.format, "stereo", _RATE, context.frame_size or 960)
    with contextlib.suppress(av.error.InvalidDataError):  # the sound ends where it is damaged
        for frame in source.decode(audio=0):
            frame.pts = None
            yield from resampler.resample(frame)
    yield from resampler.resample(None)
