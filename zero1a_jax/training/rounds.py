"""How the dataset grew: small pictures of each sample at each of its refreshes, for report and viewer.

  renders/rounds/00000450.jpg  the update before step 450: a row for each sample that it generated,
                               two frames of the avatar that it started from, then the same two as generated

Frames are SIDE pixels a side, the middle one and the last. Which samples, their rounds and why one was
rejected stand in the file's JPEG comment, as JSON. A rejected sample's frames are shown, though the dataset
kept its older ones. Nothing of a run depends on these files; a resumed run writes those again that it
repeats, with the same pictures.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from zero1a_jax import files
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.outputs import jpeg
from zero1a_jax.provenance import Provenance

FOLDER = "renders/rounds"
SIDE = 64
SHOWN = 2  # frames of a sample


class Refreshed(NamedTuple):
    """One sample, as one update generated it. Frames are uint8 [SHOWN, SIDE, SIDE, 3]."""

    step: int
    slot: int
    round: int  # how often the sample was generated, this time included where it was accepted
    reason: int  # one of symgen.REASONS
    rendered: np.ndarray  # the avatar
    made: np.ndarray


def small(frames: Any) -> np.ndarray:
    """Frames [T, H, W, 3] in 0..1 or uint8: the middle and the last, uint8 [SHOWN, SIDE, SIDE, 3]."""
    frames = np.asarray(frames)
    chosen = [as_uint8(frames[k]) for k in (len(frames) // 2, len(frames) - 1)]
    size = (SIDE, SIDE)
    return np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BOX)) for f in chosen])


def write(folder: Path, refreshed: Sequence[Refreshed], provenance: Provenance) -> None:
    """Writes the file of one update, of one step, to the folder of a run."""
    rows = [np.concatenate([*sample.rendered, *sample.made], 1) for sample in refreshed]
    about = [{"slot": s.slot, "round": s.round, "reason": s.reason} for s in refreshed]
    image = jpeg.encode(np.concatenate(rows), provenance, comment=json.dumps(about))
    files.write_bytes(folder / FOLDER / f"{refreshed[0].step:08d}.jpg", image)


def steps(folder: Path) -> list[int]:
    """The steps of the updates that have a file."""
    return sorted(int(path.stem) for path in (folder / FOLDER).glob("[0-9]*.jpg"))


def read(folder: Path, step: int) -> list[Refreshed]:
    """The samples of one update; none where its file is damaged."""
    try:
        data = (folder / FOLDER / f"{step:08d}.jpg").read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            about = json.loads(image.info["comment"])
            pixels = np.asarray(image.convert("RGB"))
        tiles = pixels.reshape(len(about), SIDE, 2, SHOWN, SIDE, 3).transpose(0, 2, 3, 1, 4, 5)
        return [
            Refreshed(step, int(a["slot"]), int(a["round"]), int(a["reason"]), *tile)
            for a, tile in zip(about, tiles, strict=True)
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def of_slots(folder: Path) -> dict[int, list[Refreshed]]:
    """Every sample's refreshes in order, by slot."""
    found: dict[int, list[Refreshed]] = {}
    for step in steps(folder):
        for sample in read(folder, step):
            found.setdefault(sample.slot, []).append(sample)
    return dict(sorted(found.items()))
