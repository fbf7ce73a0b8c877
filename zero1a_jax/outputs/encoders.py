"""Which encoder goes into which container: H.264 (or MPEG-4), VP9, and ProRes 4444 for alpha in .mov."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple, cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from zero1a_jax.errors import Refused


class Encoder(NamedTuple):
    """An encoder of FFmpeg, the pixels that it gets, and its options."""

    name: str
    pixels: str
    options: Mapping[str, str]


def codec() -> str:
    """The encoder of .mp4, .mov, .mkv: "libx264", or "mpeg4" where this build of FFmpeg lacks it."""
    return "libx264" if "libx264" in av.codecs_available else "mpeg4"


def choose(suffix: str, *, transparent: bool, crf: int = 16) -> Encoder:
    """The encoder for a container's suffix, such as ".mp4"; yuv420p, which every player shows, but for alpha.

    Raises:
      Refused: the container cannot hold alpha, or this build of FFmpeg lacks the encoder.
    """
    suffix = suffix.lower()
    if suffix == ".webm":
        # Alternate reference frames do not go with alpha. crf counts to 63 here.
        speed = {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "0", "lag-in-frames": "0"}
        options = {"crf": str(round(crf * 63 / 51)), "b": "0", **speed}
        found = Encoder("libvpx-vp9", "yuva420p" if transparent else "yuv420p", options)
    elif transparent and suffix == ".mov":
        found = Encoder("prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0"})
    elif transparent:
        raise Refused(
            f"{suffix} holds no transparent background: write .webm, .mov, .gif or a folder of PNGs"
        )
    elif codec() == "libx264":
        # Without macroblock trees: x264's AVX-512 code for them reads memory that nobody wrote, and the bits
        # of a video change from run to run.
        found = Encoder("libx264", "yuv420p", {"crf": str(crf), "x264-params": "no-mbtree=1"})
    else:
        found = Encoder("mpeg4", "yuv420p", {"qscale": "3"})
    if found.name not in av.codecs_available:
        raise Refused(
            f"this build of PyAV has no {found.name}, which {suffix} needs here: write another format"
        )
    return found


def stream(container: OutputContainer, encoder: Encoder, shape: tuple[int, ...], fps: float) -> VideoStream:
    """A new video stream of `container` for frames of `shape` [H, W, C]."""
    rate = Fraction(fps).limit_denominator(1001)
    made = cast(VideoStream, container.add_stream(encoder.name, rate=rate, options=dict(encoder.options)))
    made.height, made.width, made.pix_fmt = shape[0], shape[1], encoder.pixels
    # One thread: the encoder's bits depend on how many there are, and equal runs must give equal videos.
    made.codec_context.thread_count = 1
    # Players guess the matrix from the frame's size unless the file says it.
    made.codec_context.colorspace = Colorspace.ITU709
    made.codec_context.color_range = ColorRange.MPEG
    return made


def picture(image: np.ndarray, index: int, encoder: Encoder) -> av.VideoFrame:
    """Frame `index`, uint8 [H, W, 3] or [H, W, 4], as the encoder gets it."""
    frame = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24").reformat(
        format=encoder.pixels, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    frame.pts = index
    return frame
