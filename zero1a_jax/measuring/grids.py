"""Pictures of several avatars of one person in the held-out poses, under the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from zero1a_jax.image.colour import as_uint8
from zero1a_jax.measuring import evaluation, heldout
from zero1a_jax.outputs import report

PAIRS = (0, 6, 1, 7, 2, 8, 3, 9, 4)  # of `heldout.pairs`, by rising yaw, both sides in turn


def grid(seed: int, folders: Mapping[str, Path], *, size: int = 128) -> np.ndarray:
    """A row of the truth, then one of each folder under its name, uint8 [H, W, 3].

    Args:
      seed: of the synthetic person. folders: of finished runs, as `evaluation.shown_in` takes them.
    """
    asked = evaluation.asked(None, seed, PAIRS, size)
    rows: dict[str, Iterable[evaluation.Picture]] = {
        "truth": evaluation.true_pictures(seed, asked.flame, asked.cameras, 2)
    }
    for name, folder in folders.items():
        shown = evaluation.shown_in(folder, heldout.COUNT, size)
        own = evaluation.asked(shown, seed, PAIRS, size)
        rows[name] = shown.images(PAIRS, own.own_flame, own.own_cameras)
    pictures = [as_uint8(np.asarray(image)) for row in rows.values() for image, _ in row]
    labels = [text for name in rows for text in (name, *(f"{yaw:.0f} deg" for yaw in asked.yaw[1:]))]
    return report.contact_sheet(pictures, len(PAIRS), labels=labels)
