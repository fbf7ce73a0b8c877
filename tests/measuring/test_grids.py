"""A grid: the truth's row first, then a row a folder, by rising yaw."""

from pathlib import Path

import numpy as np

from zero1a_jax.measuring import evaluation, grids, heldout

SIZE = 24


def flat(*values):
    """Pictures whose red says what they are of."""
    return [(np.full((SIZE, SIZE, 3), (value / 255, 0, 0)), None) for value in values]


def test_rows_and_columns(monkeypatch):
    def shown_in(folder, pairs, size):
        def images(chosen, flame, cameras):
            return flat(*(int(folder.name) + k for k in range(len(chosen))))

        return evaluation.Shown("", None, None, None, images)

    yaw = heldout.pairs(evaluation.procedural_head()).yaw[list(grids.PAIRS)]
    asked = evaluation.Asked(yaw, yaw, None, None, None, None)
    monkeypatch.setattr(evaluation, "asked", lambda shown, seed, chosen, size: asked)
    monkeypatch.setattr(
        evaluation, "true_pictures", lambda *of: iter(flat(*(10 + k for k in range(len(yaw)))))
    )
    monkeypatch.setattr(evaluation, "shown_in", shown_in)
    sheet = grids.grid(7, {"a": Path("100"), "b": Path("200")}, size=SIZE)
    assert (np.diff(np.abs(yaw)) > -4).all()  # from the front to the sides
    height, width = (sheet.shape[0] - 2) // 3, (sheet.shape[1] - 2) // len(yaw)
    for row, first in enumerate((10, 100, 200)):
        for column in range(len(yaw)):
            assert sheet[row * height + 10, column * width + 10, 0] == first + column
