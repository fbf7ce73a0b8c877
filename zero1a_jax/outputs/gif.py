"""Animated GIFs, through Pillow: 256 colours a frame, alpha either on or off."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.outputs import label
from zero1a_jax.provenance import Provenance

FASTEST = 50  # frames a second: browsers slow down what is shorter than 2 hundredths
_CLEAR = 255  # the palette's entry that stands for nothing
_HALF = 128  # alpha from which a pixel is there


def write(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    fps: float,
    *,
    provenance: Provenance | None = None,
) -> int:
    """Writes uint8 frames [H, W, 3], or [H, W, 4] with straight alpha, as a loop; returns the count.

    GIF counts in hundredths of a second: frames last so many, in turn, that the whole keeps its time.

    Raises:
      Refused: no frames, or more than 50 a second.
    """
    if not 0 < fps <= FASTEST:
        raise Refused(f"a .gif shows at most {FASTEST} frames a second, not {fps:g}")
    labelled = provenance is not None and provenance.label
    made = (_indexed(label.draw(frame) if labelled else frame) for frame in frames)
    first = next(made, None)
    if first is None:
        raise Refused("there are no frames to write")
    durations: list[int] = []

    def timed() -> Iterator[Image.Image]:
        for index, image in enumerate(itertools.chain([first], made)):
            end, start = round(100 * (index + 1) / fps), round(100 * index / fps)
            durations.append(10 * (end - start))
            image.info["duration"] = durations[-1]
            yield image

    pictures = timed()
    with files.replacing(path) as temporary:
        next(pictures).save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures,
            loop=0,
            disposal=2 if "transparency" in first.info else 0,
            optimize=False,
            comment=provenance.sentence.encode("ascii") if provenance else b"",
        )
    return len(durations)


def _indexed(frame: np.ndarray) -> Image.Image:
    colours = Image.fromarray(np.ascontiguousarray(frame[..., :3]))
    if frame.shape[2] == 3:
        return colours.quantize(256, method=Image.Quantize.MEDIANCUT)
    few = colours.quantize(_CLEAR, method=Image.Quantize.MEDIANCUT)
    index = np.where(frame[..., 3] < _HALF, _CLEAR, np.asarray(few)).astype(np.uint8)
    image = Image.fromarray(index, mode="P")
    palette = (few.getpalette() or [])[: 3 * _CLEAR]
    image.putpalette(palette + [0] * (768 - len(palette)))
    image.info["transparency"] = _CLEAR
    return image
