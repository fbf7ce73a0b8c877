"""Bars with their figures, as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WIDTH, _LABEL, _ROOM, _BAR, _GAP, _HEAD = 860, 330, 90, 17, 9, 26
_COLOURS = ("#2f6fde", "#e0633a", "#2c9a6a", "#a24fc4", "#c79a1b", "#4f8fa8")
_INK, _SOFT = "#1d2430", "#8a93a3"


def bars(groups: Mapping[str, Mapping[str, float]], unit: str, *, mark: float | None = None) -> np.ndarray:
    """Horizontal bars from zero, uint8 [H, W, 3].

    Args: groups, by name, of bars by name, in the order in which they are drawn; a bar's colour follows from
    its place in the group. `unit` stands on top; a line is drawn at `mark`. What is not finite has no bar.
    """
    values = [value for group in groups.values() for value in group.values() if math.isfinite(value)]
    longest = max([*values, mark or 0.0, 1e-12])
    rows = sum(len(group) for group in groups.values())
    height = _HEAD + rows * _BAR + len(groups) * _GAP + 6
    image = Image.new("RGB", (_WIDTH, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)

    def across(value: float) -> float:
        return _LABEL + value / longest * (_WIDTH - _LABEL - _ROOM)

    draw.text((_LABEL, 5), unit, fill=_SOFT, font=font)
    if mark is not None:
        draw.line((across(mark), _HEAD - 4, across(mark), height - 4), fill=_INK)
    y = _HEAD
    for name, group in groups.items():
        draw.text((8, y), name, fill=_INK, font=font)
        for index, (label, value) in enumerate(group.items()):
            draw.text((_LABEL - 8, y), label, fill=_SOFT, font=font, anchor="ra")
            shown = "not known"
            if math.isfinite(value):
                colour = _COLOURS[index % len(_COLOURS)]
                draw.rectangle((_LABEL, y + 2, max(across(value), _LABEL + 1), y + _BAR - 3), fill=colour)
                shown = f"{value:.3g}"
            start = across(value) if math.isfinite(value) else _LABEL
            place = (start + 6, y)
            draw.rectangle(draw.textbbox(place, shown, font=font), fill="white")  # or the line crosses it
            draw.text(place, shown, fill=_INK, font=font)
            y += _BAR
        y += _GAP
    return np.asarray(image)
