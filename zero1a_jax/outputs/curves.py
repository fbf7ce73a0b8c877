"""Line charts as inline SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

from zero1a_jax.errors import Refused

_WIDTH, _HEIGHT = 680, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 26, 44
_LEGEND, _ROW = 5, 16  # names a row of the legend, and its height
_COLOURS = ("#2f6fde", "#e0633a", "#2c9a6a", "#a24fc4", "#c79a1b", "#4f8fa8")


def svg(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str = "",
    y_label: str = "",
    log_y: bool = False,
) -> str:
    """A chart of `lines` (name to (x [n], y [n])) as an <svg> element.

    Values that are not finite (or not above 0 where `log_y`) break the line. A single point is a dot.

    Raises:
      Refused: an x and a y of different length.
    """
    data = {name: _usable(name, x, y, log_y) for name, (x, y) in lines.items()}
    points = [line[np.isfinite(line[:, 1])] for line in data.values()]
    every = np.concatenate([np.zeros((0, 2)), *points])
    if not len(every):
        return "<p>(no finite values to draw)</p>"
    below = _ROW * (max(len(data) - 1, 0) // _LEGEND)  # what a legend of several rows takes
    height = _HEIGHT + below
    x_ticks, y_ticks = _ticks(every[:, 0]), _ticks(every[:, 1])
    x_low, x_high = _range(every[:, 0], [])
    y_low, y_high = _range(every[:, 1], y_ticks)

    def place(x, y):
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        return across, height - _BOTTOM - (y - y_low) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img">']
    for tick in y_ticks:
        y = place(x_low, tick)[1]
        shown = 10**tick if log_y else tick
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown:.4g}</text>')
    for tick in x_ticks:
        if x_low <= tick <= x_high:
            x = place(tick, y_low)[0]
            y = height - _BOTTOM + 18
            parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{tick:.6g}</text>')
    for index, (name, line) in enumerate(data.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        dashes = ' stroke-dasharray="6 3"' if index >= len(_COLOURS) else ""
        parts += _line(line, place, colour, dashes)
        x, y = _LEFT + 125 * (index % _LEGEND), 14 + _ROW * (index // _LEGEND)
        mark = "- " if dashes else ""
        parts.append(f'<text x="{x}" y="{y}" style="fill:{colour}">{mark}{html.escape(name)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{html.escape(x_label)}</text>')
    turned = f'transform="translate(13 {(_TOP + below + height - _BOTTOM) / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{html.escape(y_label)}</text></svg>')
    return "".join(parts)


def alone(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str = "", y_label: str = ""
) -> str:
    """The same as a file of its own, dark on white."""
    style = "text{fill:#444;font:12px sans-serif}.grid{stroke:#ddd}"
    head, drawn = '<svg xmlns="http://www.w3.org/2000/svg" ', svg(lines, x_label, y_label)
    begin = drawn.index(">") + 1
    background = f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>'
    return head + drawn[len("<svg ") : begin] + background + drawn[begin:] + "\n"


def _usable(name: str, x: Sequence[float], y: Sequence[float], log_y: bool) -> np.ndarray:
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if across.shape != up.shape or across.ndim != 1:
        raise Refused(f"the line {name!r} has x of shape {across.shape} and y of shape {up.shape}")
    up = np.where(np.isfinite(across) & np.isfinite(up), up, np.nan)
    if log_y:
        up = np.log10(np.where(up > 0, up, np.nan))
    return np.stack([np.nan_to_num(across), up], axis=1)


def _line(line: np.ndarray, place, colour: str, dashes: str) -> list[str]:
    out, run = [], []
    for x, y in [*line, (0.0, math.nan)]:
        if math.isfinite(y):
            run.append("{:.1f},{:.1f}".format(*place(x, y)))
            continue
        if len(run) == 1:
            across, down = run[0].split(",")
            out.append(f'<circle cx="{across}" cy="{down}" r="2.5" fill="{colour}"/>')
        elif run:
            style = f'fill="none" stroke="{colour}" stroke-width="1.8"{dashes}'
            out.append(f'<polyline points="{" ".join(run)}" {style}/>')
        run = []
    return out


def _range(values: np.ndarray, ticks: Sequence[float]) -> tuple[float, float]:
    low, high = min([values.min(), *ticks]), max([values.max(), *ticks])
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(values: np.ndarray) -> list[float]:
    """About five round numbers that span the values."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return [low]
    rough = (high - low) / 4
    unit = 10 ** math.floor(math.log10(rough))
    step = unit * min((m for m in (1, 2, 5, 10)), key=lambda m: abs(m * unit - rough))
    return [k * step for k in range(math.floor(low / step), math.ceil(high / step) + 1)]
