"""Tables of text as spreadsheets and recorders write them: .csv, .tsv, .txt.

Delimiter and decimal mark follow the country of the computer, the encoding its system: comma, semicolon, tab
or bar; decimal point or comma; UTF-8 or UTF-16, with or without a byte order mark; cells quoted or not.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zero1a_jax.errors import Refused

DELIMITERS = ",;\t|"
_MISSING = frozenset(("", "-", "--", "\u2013", "\u2014", "nan", "null", "none", "n/a", "na"))


@dataclass(frozen=True)
class TextTable:
    """A header and the rows under it; cells are stripped, and a row may be shorter than the header."""

    path: Path
    header: tuple[str, ...]  # every name is given and no two are the same, whatever their case
    rows: list[list[str]]
    lines: list[int]  # of each row in the file, from 1

    def column(self, name: str) -> int | None:
        """Where a column of this name stands, whatever its case; None where there is none."""
        return next((i for i, text in enumerate(self.header) if text.lower() == name.lower()), None)

    def cells(self, column: int | None) -> list[str]:
        """A column's text, one a row; "" where a row is too short or there is no such column."""
        return [row[column] if column is not None and column < len(row) else "" for row in self.rows]

    def numbers(self, columns: list[int]) -> np.ndarray:
        """The columns as float64 [T, len(columns)]; NaN where a cell is empty or stands for nothing.

        Raises Refused, which names the row, for text that is no number and for infinity.
        """
        out = np.full((len(self.rows), len(columns)), np.nan)
        for i, row in enumerate(self.rows):
            try:  # nearly all rows are plain
                out[i] = [float(row[c]) for c in columns]
            except (ValueError, IndexError):
                out[i] = [_number(row[c]) if c < len(row) else math.nan for c in columns]
                wrong = [c for c, value in zip(columns, out[i], strict=True) if math.isinf(value)]
                if wrong:
                    cell, name = row[wrong[0]], self.header[wrong[0]]
                    raise Refused(
                        f"{self.path}, row {self.lines[i]}: {cell[:40]!r} under {name} is no number"
                    ) from None
            if np.isinf(out[i]).any():
                raise Refused(f"{self.path}, row {self.lines[i]}: a value is not finite")
        return out


def read(path: str | os.PathLike) -> TextTable:
    """Reads a table whose first row names the columns.

    Rows without any cell are left out, as are columns without a name if they are empty or, in front, count
    the rows. A first line `sep=;`, as for Excel, names the delimiter.

    Raises:
      FileNotFoundError: there is no such file.
      Refused: it is no text, has no rows, a row is longer than the header, a name is missing or comes twice.
    """
    path = Path(path)
    text = decoded(path)
    told = re.match(r'\s*"?sep=(.)"?[ \t]*\r?\n', text)
    if told:
        text = "\n" + text[told.end() :]  # lines keep their numbers
    delimiter = told[1] if told else _delimiter(text)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        every = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise Refused(f"{path} is not a text table: {error}") from error
    every = [(line, row) for line, row in every if any(row)]
    if len(every) < 2:
        raise Refused(f"{path} holds no rows under a header")
    (_, header), body = every[0], every[1:]
    for line, row in body:
        while len(row) > len(header) and not row[-1]:
            row.pop()
        if len(row) > len(header):
            raise Refused(f"{path}, row {line}: {len(row)} cells under {len(header)} columns")
    kept = _named_columns(path, header, [row for _, row in body])
    return TextTable(
        path=path,
        header=tuple(header[c] for c in kept),
        rows=[[row[c] for c in kept if c < len(row)] for _, row in body],
        lines=[line for line, _ in body],
    )


def decoded(path: Path) -> str:
    """The text of a file in UTF-8 or UTF-16, without byte order mark.

    Raises FileNotFoundError, or Refused where it is no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no motion at {path}")
    data = path.read_bytes()
    encoding = "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in data[:2]:  # no mark, but every name of ours begins with a plain letter
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not a text table: {error}") from error


def is_missing(cell: str) -> bool:
    """Whether a cell stands for no value: empty, a dash, nan and the like, a spreadsheet's error as #NUM!."""
    return cell.lower() in _MISSING or cell.startswith("#")


def _delimiter(text: str) -> str:
    """The one that the header has most of, outside of quotes; names have none."""
    header = re.sub(r'"[^"]*"', "", text.lstrip().splitlines()[0]) if text.strip() else ""
    return max(DELIMITERS, key=header.count)


def _named_columns(path: Path, header: list[str], rows: list[list[str]]) -> list[int]:
    kept = []
    for c, name in enumerate(header):
        if name:
            kept.append(c)
            continue
        cells = [row[c] for row in rows if c < len(row)]
        if any(cells) and not (c == 0 and all(cell.isdigit() for cell in cells)):
            raise Refused(f"{path}: column {c + 1} holds values but has no name; name it or take it out")
    names = [header[c].lower() for c in kept]
    twice = next((header[c] for c in kept if names.count(header[c].lower()) > 1), None)
    if twice is not None:
        raise Refused(f"{path}: two columns have the same name, {twice}; keep one of them")
    return kept


def _number(cell: str) -> float:
    """NaN for a missing value, infinity for what is no number."""
    if is_missing(cell):
        return math.nan
    cell = cell.removesuffix("%").rstrip()  # of 0..100 then, which the range of all values tells
    if "," in cell and "." not in cell:
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return math.inf
