"""Videos, through PyAV, frame by frame; see `outputs.encoders` for what is in which container."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import av
import av.error
import numpy as np
from PIL import Image

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.image import film
from zero1a_jax.outputs import audio, encoders, label
from zero1a_jax.provenance import Provenance

CONTAINERS = (".mp4", ".mov", ".mkv", ".webm")
_AHEAD = 8  # frames that may wait for the encoder
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
    sound: str | os.PathLike | None = None,
) -> int:
    """Writes `frames` to `path`, atomically; returns how many there were.

    A thread encodes while the next frames are made; at most a few wait for it.

    Args:
      path: .mp4, .mov or .mkv (H.264), or .webm (VP9); its folder is made where it is missing.
      frames: uint8 [T, H, W, 3], or any iterable of [H, W, 3]. Odd heights and widths get one row or column
        more, a copy of the last, because yuv420p halves the colours. [H, W, 4] with straight alpha keep it,
        in .webm (VP9) and .mov (ProRes 4444) alone.
      fps: frames a second, above 0.
      scale: whole factor by which frames grow, so that small ones can be watched.
      filter: "lanczos" (smooth) or "nearest" (shows the pixels), for scale above 1.
      crf: H.264's quality, 0 (lossless) to 51.
      provenance: what the container's comment, description and date say, and whether frames are labelled.
      sound: a video whose sound goes along, as far as the frames do; one without sound adds none.

    Equal frames and provenance give an equal file; the provenance's facts change no frame.

    Raises:
      Refused: no frames, frames that are not uint8 or differ in size, a bad fps, scale or filter, alpha in
        a container that cannot hold it, or an encoder that this build of FFmpeg lacks.
    """
    if Path(path).suffix.lower() not in CONTAINERS:
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
    encoder = encoders.choose(Path(path).suffix, transparent=first.shape[2] == 4, crf=crf)
    count = 0
    waiting: collections.deque[Future] = collections.deque()
    with files.replacing(path) as temporary, av.open(str(temporary), "w") as container:
        if provenance is not None:
            container.metadata.update(_tags(provenance))
        stream = encoders.stream(container, encoder, first.shape, fps)
        with audio.track(container, sound) as track, ThreadPoolExecutor(1) as thread:

            def encode(image: np.ndarray, index: int) -> None:
                container.mux(stream.encode(encoders.picture(image, index, encoder)))
                track.until((index + 1) / fps)

            for image in itertools.chain([first], (_prepared(x, scale, filter, labelled) for x in frames)):
                if image.shape != first.shape:
                    raise Refused(f"frame {count} is {image.shape[:2]}, the first was {first.shape[:2]}")
                waiting.append(thread.submit(encode, image, count))
                count += 1
                if len(waiting) > _AHEAD:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
            container.mux(stream.encode())
            track.end()
    return count


def read(path: str | os.PathLike, *, limit: int | None = None) -> tuple[np.ndarray, float]:
    """Reads a video as (frames uint8 [T, H, W, 3], frames a second), at most `limit` frames.

    Raises:
      FileNotFoundError: there is no such file. Refused: it holds no readable video.
    """
    fps = film.about(path).fps
    return np.stack([rgb for _, rgb in itertools.islice(film.frames(path), limit)]), fps


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
