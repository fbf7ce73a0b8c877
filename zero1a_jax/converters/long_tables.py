"""Tables with a row a category (frame, category, score) as tables with a column a category.

Programs write MediaPipe's categories down one by one, frame by frame; a table that was melted has all frames
of the first category, then all of the next.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from zero1a_jax.converters import arkit_rows
from zero1a_jax.converters.text_tables import TextTable, is_missing

_SCORE = re.compile(r".*(?:score|value|weight|coefficient)s?")


def wide(table: TextTable, stamps: Sequence[int]) -> TextTable:
    """The table with a row a frame, or the table itself where it has no column of categories and of scores.

    Rows with the same stamps are one frame; where a category comes twice in it, as of a second face, the
    first counts. Without stamps the n-th row of a category is of the n-th frame. Categories that a frame
    leaves out are at rest, and a frame without any has no face.

    Args:
      table: as `text_tables.read` gives it.
      stamps: its columns of times and frame numbers.
    """
    found = _columns(table, stamps)
    if found is None:
        return table
    categories, scores = (table.cells(column) for column in found)
    stamps = [c for c in stamps if c not in found and _tells_frames(table.cells(c), categories)]
    cells = [table.cells(column) for column in stamps]
    frames: dict[tuple, dict[str, str]] = {}
    lines: dict[tuple, int] = {}
    seen: dict[str, int] = {}
    for row, (category, score) in enumerate(zip(categories, scores, strict=True)):
        seen[category] = seen.get(category, 0) + 1
        key = tuple(column[row] for column in cells) if stamps else (seen[category],)
        frame = frames.setdefault(key, {})
        lines.setdefault(key, table.lines[row])
        name = arkit_rows.shape_name(category)
        if name is not None:
            frame.setdefault(name, score)
    names = list(dict.fromkeys(name for frame in frames.values() for name in frame))
    rows = [
        [*(key if stamps else ()), *(frame.get(name, "0" if frame else "") for name in names)]
        for key, frame in frames.items()
    ]
    header = (*(table.header[column] for column in stamps), *names)
    return dataclasses.replace(table, header=header, rows=rows, lines=list(lines.values()))


def _columns(table: TextTable, stamps: Sequence[int]) -> tuple[int, int] | None:
    """The columns of categories and of scores."""
    if any(arkit_rows.shape_name(name) for name in table.header):
        return None
    scores = [c for c, name in enumerate(table.header) if _SCORE.fullmatch(name.strip().lower())]
    for column in range(len(table.header)):
        given = [cell for cell in table.cells(column) if not is_missing(cell)]
        known = sum(arkit_rows.shape_name(cell) is not None for cell in given)
        if known and 2 * known > len(given) and column not in (*scores, *stamps):
            return (column, scores[0]) if scores else None
    return None


def _tells_frames(cells: Sequence[str], categories: Sequence[str]) -> bool:
    """False of a number of the category (MediaPipe's index) and of one that counts the rows."""
    kinds = len(set(categories))
    numbers_category = len(set(zip(cells, categories, strict=True))) == kinds < len(cells)
    counts_rows = len(set(cells)) == len(cells) and kinds > 1
    return not numbers_category and not counts_rows
