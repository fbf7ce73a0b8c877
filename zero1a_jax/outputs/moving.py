"""Moving pictures of any kind, which the name of the file decides: a video, a .gif, a folder of .png."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.outputs import label, png, video
from zero1a_jax.provenance import Provenance

GIF, FRAMES = ".gif", ""  # a name without a suffix is a folder of pictures
KINDS = f"{', '.join(video.CONTAINERS)}, {GIF}, or a name without a suffix for a folder of .png"
_CLEAR = 128  # alpha under which a pixel of a .gif, which knows no half, is not there
_HUNDREDTH = 10  # milliseconds: what .gif counts time in
_COLOURS = 255  # of a frame; one more stands for nothing


def refuse(path: str | os.PathLike, *, transparent: bool) -> None:
    """Raises Refused where `write` would for the name: to be told before anything slow starts."""
    suffix = Path(path).suffix.lower()
    if suffix not in (*video.CONTAINERS, GIF, FRAMES):
        raise Refused(f"{path}: the file is {KINDS}")
    if transparent and suffix not in (*video.TRANSPARENT, GIF, FRAMES):
        known = ", ".join((*video.TRANSPARENT, GIF))
        raise Refused(f"{path}: {suffix} holds no transparency; {known} and a folder of .png do")


def write(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    fps: float,
    *,
    provenance: Provenance | None = None,
) -> int:
    """Writes frames, and returns how many there were.

    Args:
      path: see KINDS. A folder must be there and empty; others appear whole or not at all.
      frames: uint8 [H, W, 3], or [H, W, 4] with alpha (colours not multiplied by it).
      fps: frames a second. A .gif counts in hundredths of a second: its frames are shown by turns a little
        longer and shorter, so that all together last as long as they should.
      provenance: what the files say of where they come from, and whether frames are labelled.

    Raises:
      Refused: no frames, or ones that differ in size; what `refuse` refuses.
    """
    path, told = Path(path), _Told(frames)
    suffix = path.suffix.lower()
    if suffix == GIF:
        _gif(path, iter(told), fps, provenance)
    elif suffix == FRAMES:
        for number, frame in enumerate(told):
            (path / f"frame_{number:06d}.png").write_bytes(png.encode(frame, provenance))
    else:
        video.write(path, told, fps, provenance=provenance)
    if not told.count:
        raise Refused("there are no frames to write")
    return told.count


class _Told:
    """Frames, and how many went by."""

    def __init__(self, frames: Iterable[np.ndarray]):
        self._frames, self.count = frames, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in self._frames:
            self.count += 1
            yield frame


def _gif(path: Path, frames: Iterator[np.ndarray], fps: float, provenance: Provenance | None) -> None:
    labelled = provenance is not None and provenance.label
    pictures = [_few_colours(label.draw(frame) if labelled else frame) for frame in frames]
    if not pictures:
        return
    ends = np.rint(np.arange(len(pictures) + 1) * 1000 / fps / _HUNDREDTH).astype(int) * _HUNDREDTH
    lasting = [max(int(step), _HUNDREDTH) for step in np.diff(ends)]
    clear = {"transparency": _COLOURS, "disposal": 2} if pictures[0].info.get("transparency") else {}
    with files.replacing(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=itertools.islice(pictures, 1, None),
            duration=lasting,
            loop=0,
            comment=provenance.sentence.encode() if provenance is not None else b"",
            **clear,
        )


def _few_colours(frame: np.ndarray) -> Image.Image:
    """A frame with a palette of its own; the colour _COLOURS is where nothing is."""
    picture = Image.fromarray(np.ascontiguousarray(frame[..., :3]))
    picture = picture.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
    if frame.shape[2] == 3:
        return picture
    index = np.where(frame[..., 3] < _CLEAR, _COLOURS, np.asarray(picture)).astype(np.uint8)
    clear = Image.fromarray(index, "P")
    clear.putpalette((picture.getpalette() or [])[: 3 * _COLOURS] + [0, 0, 0])
    clear.info["transparency"] = _COLOURS
    return clear
