"""Videos, through PyAV: H.264 where the build has it, else MPEG-4, in yuv420p, which every player shows; VP9
in .webm, with alpha where frames bring it; and ProRes 4444 for alpha in .mov."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from PIL import Image

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.outputs import label
from zero1a_jax.provenance import Provenance

CONTAINERS = (".mp4", ".mov", ".mkv", ".webm")
TRANSPARENT = (".webm", ".mov")  # of those the ones that hold alpha
_FILTERS = {"nearest": Image.Resampling.NEAREST, "lanczos": Image.Resampling.LANCZOS}


def write(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    fps: float,
    *,
    scale: int = 1,
    filter: str = "lanczos",
    crf: int = 16,
    provenance: Provenance | None = None,
) -> None:
    """Writes `frames` to `path` (see CONTAINERS), atomically.

    Args:
      path: the file; its folder is made where it is missing.
      frames: uint8 [T, H, W, 3], or any iterable of [H, W, 3]; with four channels the last is alpha, by which
        colours are not multiplied. Odd heights and widths get one row or column
        more, a copy of the last, because yuv420p halves the colours.
      fps: frames a second, above 0.
      scale: whole factor by which frames grow, so that small ones can be watched.
      filter: "lanczos" (smooth) or "nearest" (shows the pixels), for scale above 1.
      crf: H.264's quality, 0 (lossless) to 51; VP9's is the next half of it.
      provenance: what the container's comment, description and date say, and whether frames are labelled.

    Equal frames and provenance give an equal file; the provenance's facts change no frame.

    Raises:
      Refused: no frames, frames that are not uint8 or differ in size, a bad fps, scale or filter.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in CONTAINERS:
        raise Refused(f"{path}: a video is written as {', '.join(CONTAINERS)}")
    if not 0 < fps < 1000:
        raise Refused(f"fps is {fps}; give a number above 0 and below 1000")
    if scale < 1 or int(scale) != scale:
        raise Refused(f"scale is {scale}; give a whole number from 1")
    if filter not in _FILTERS:
        raise Refused(f"filter is {filter!r}; choose from {', '.join(_FILTERS)}")
    frames = iter(frames)
    labelled = provenance is not None and provenance.label
    first = _prepared(next(frames, None), scale, filter, labelled)
    if first.shape[2] == 4 and suffix not in TRANSPARENT:
        raise Refused(f"{path}: {suffix} holds no alpha; {' and '.join(TRANSPARENT)} do")
    with files.replacing(path) as temporary, av.open(str(temporary), "w") as container:
        if provenance is not None:
            container.metadata.update(_tags(provenance))
        stream = _stream(container, suffix, first.shape, fps, crf)
        for index, frame in enumerate(itertools.chain([None], frames)):
            image = first if index == 0 else _prepared(frame, scale, filter, labelled)
            if image.shape != first.shape:
                raise Refused(f"frame {index} is {image.shape[:2]}, the first was {first.shape[:2]}")
            picture = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
            picture = picture.reformat(
                format=stream.pix_fmt, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            picture.pts = index
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def read(path: str | os.PathLike, *, limit: int | None = None) -> tuple[np.ndarray, float]:
    """Reads a video as (frames uint8 [T, H, W, 3], frames a second), at most `limit` frames.

    Raises:
      FileNotFoundError: there is no such file. ValueError: it holds no readable video.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no video at {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise Refused(f"{path} holds no video stream")
            rate = container.streams.video[0].average_rate
            decoded = itertools.islice(container.decode(video=0), limit)
            frames = [_rgb(frame) for frame in decoded]
    except av.error.FFmpegError as error:
        raise Refused(f"{path} is not a readable video: {error}") from error
    if not frames:
        raise Refused(f"{path} holds no frames")
    return np.stack(frames), float(rate or 0)


def codec() -> str:
    """The encoder that `write` uses: "libx264", or "mpeg4" where this build of FFmpeg lacks it."""
    return "libx264" if "libx264" in av.codecs_available else "mpeg4"


def _stream(
    container: OutputContainer, suffix: str, shape: tuple[int, ...], fps: float, crf: int
) -> VideoStream:
    name, pixels, options = _encoder(suffix, shape[2] == 4, crf)
    rate = Fraction(fps).limit_denominator(1001)
    stream = cast(VideoStream, container.add_stream(name, rate=rate, options=options))
    stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], pixels
    # One thread: the encoder's bits depend on how many there are, and equal runs must give equal videos.
    stream.codec_context.thread_count = 1
    # Players guess the matrix from the frame's size unless the file says it.
    stream.codec_context.colorspace = Colorspace.ITU709
    stream.codec_context.color_range = ColorRange.MPEG
    return stream


def _encoder(suffix: str, alpha: bool, crf: int) -> tuple[str, str, dict[str, str]]:
    """Its name, the pixels' format, and options."""
    if suffix == ".webm":
        quality = {"crf": str(min(63, crf + crf // 2)), "b": "0", "cpu-used": "4", "row-mt": "0"}
        # libvpx looks ahead in a way that loses the alpha of frames it moves.
        return "libvpx-vp9", "yuva420p" if alpha else "yuv420p", quality | {"auto-alt-ref": "0"}
    if alpha:
        return "prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0"}
    name = codec()
    if name != "libx264":
        return name, "yuv420p", {"qscale": "3"}
    # Without macroblock trees: x264's AVX-512 code for them reads memory that nobody wrote, and the bits of
    # a video change from run to run.
    return name, "yuv420p", {"crf": str(crf), "x264-params": "no-mbtree=1"}


def _tags(provenance: Provenance) -> dict[str, str]:
    """Of these .mp4 and .mkv keep all, .mov keeps comment and date."""
    text = provenance.sentence
    return {"comment": text, "description": text, "date": provenance.date}


def _prepared(frame: np.ndarray | None, scale: int, filter: str, labelled: bool) -> np.ndarray:
    if frame is None:
        raise Refused("there are no frames to write")
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (3, 4) or 0 in frame.shape:
        raise Refused(f"a frame is {frame.dtype}{list(frame.shape)}; expected uint8 [H, W, 3] or [H, W, 4]")
    if scale > 1:
        size = (frame.shape[1] * scale, frame.shape[0] * scale)
        frame = np.asarray(Image.fromarray(frame).resize(size, _FILTERS[filter]))
    frame = label.draw(frame) if labelled else frame
    return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as rgb, by BT.709 where the file names it, else by the decoder's own guess."""
    if frame.format.name.startswith("yuv") and frame.colorspace == Colorspace.ITU709:
        frame = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709)
    return frame.to_ndarray(format="rgb24")
