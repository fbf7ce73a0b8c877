"""Live Link Face tables as spreadsheets, other countries and lost faces leave them."""

import csv
import io

import numpy as np
import pytest

from zero1a_jax.converters import arkit, livelink
from zero1a_jax.errors import Refused

SHAPES = [name[0].upper() + name[1:] for name in arkit.NAMES]
HEADER = ["Timecode", "BlendShapeCount", *SHAPES, *livelink.ROTATIONS]
JAW = SHAPES.index("JawOpen")


def take(rows=12, seed=0):
    """Rows of text, ten frames around the end of a second, so that the rate is known to be 60."""
    values = np.random.default_rng(seed).random((rows, len(HEADER) - 2)) * 0.9
    codes = [f"13:59:{58 + (50 + i) // 60:02d}:{(50 + i) % 60:02d}.{7 * i:03d}" for i in range(rows)]
    return values, [[code, "61", *(f"{v:.6f}" for v in row)] for code, row in zip(codes, values, strict=True)]


def written(path, rows, *, header=None, delimiter=",", encoding="utf-8", end="\n", quoting=csv.QUOTE_MINIMAL):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([header or HEADER, *rows])
    path.write_bytes(out.getvalue().encode(encoding))
    return path


def german(rows):
    return [[cell.replace(".", ",") for cell in row] for row in rows]


@pytest.mark.parametrize(
    "change, layout",
    [
        (list, dict()),
        (german, dict(delimiter=";", encoding="utf-8-sig", end="\r\n")),
        (german, dict(delimiter="\t", encoding="utf-16")),
        (german, dict(quoting=csv.QUOTE_ALL)),
        (list, dict(delimiter="\t", encoding="utf-16-le")),
        (list, dict(delimiter="|", encoding="utf-16-be", end="\r")),
        (lambda rows: [[*row, "", ""] for row in rows], dict(header=[*HEADER, "", ""])),
        (lambda rows: [[*row, ""] for row in rows], dict()),
        (lambda rows: [*rows[:3], [""] * 5, [], *rows[3:], ["", ""]], dict(end="\r\n")),
        (lambda rows: [[str(i), *row] for i, row in enumerate(rows)], dict(header=["", *HEADER])),
        (lambda rows: [[*row, "Anna"] for row in rows], dict(header=[*HEADER, "Subject"])),
    ],
)
def test_however_it_was_saved(change, layout, tmp_path):
    values, rows = take()
    found = livelink.load(written(tmp_path / "a.csv", change(rows), **layout))
    np.testing.assert_allclose(found.weights, values[:, :52], atol=1e-6)
    np.testing.assert_allclose(found.rotations, values[:, 52:], atol=1e-6)
    assert found.names == tuple(SHAPES) and found.fps == 60 and found.notes == ()


def test_quotes_with_spaces_after_commas_and_a_named_delimiter(tmp_path):
    values, rows = take()
    lines = [", ".join(f'"{cell}"' for cell in row) for row in [HEADER, *rows]]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    np.testing.assert_allclose(livelink.load(tmp_path / "a.csv").weights, values[:, :52], atol=1e-6)
    lines = ["sep=;", *(";".join(row) for row in [HEADER, *rows])]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    np.testing.assert_allclose(livelink.load(tmp_path / "a.csv").weights, values[:, :52], atol=1e-6)


@pytest.mark.parametrize(
    "lose",
    [
        lambda row: [row[0], "0"],
        lambda row: [row[0]],
        lambda row: [row[0], "0", *["0.0"] * 61],
        lambda row: [row[0], "61", *[""] * 61],
        lambda row: [row[0], "-", *["-"] * 61],
        lambda row: [row[0], "61", *["nan"] * 61],
        lambda row: [row[0], "61", *["#NUM!"] * 61],
    ],
)
def test_lost_faces_are_bridged_over_time_and_told(lose, tmp_path):
    values, rows = take()
    for i in (0, 4, 5, 11):
        rows[i] = lose(rows[i])
    found = livelink.load(written(tmp_path / "a.csv", rows))
    assert found.notes == ("4 of 12 rows without a face were bridged.",)
    good = [i for i in range(12) if i not in (0, 4, 5, 11)]
    expected = np.stack([np.interp(found.seconds, found.seconds[good], c[good]) for c in values.T], 1)
    np.testing.assert_allclose(np.hstack([found.weights, found.rotations]), expected, atol=1e-6)
    np.testing.assert_allclose(found.weights[0], values[1, :52], atol=1e-6)  # held at the ends


def test_a_lost_row_without_a_time_and_single_empty_cells(tmp_path):
    values, rows = take()
    rows[3] = ["", "0"]
    rows[7][2 + JAW] = ""
    found = livelink.load(written(tmp_path / "a.csv", rows))
    assert len(found.weights) == 11 and found.notes == ("1 of 11 rows had empty cells, which were bridged.",)
    assert found.weights[6, JAW] == pytest.approx((values[6, JAW] + values[8, JAW]) / 2, abs=0.01)


def test_a_column_that_is_empty_throughout_is_zero(tmp_path):
    _, rows = take()
    rows = [[*row[: 2 + JAW], "", *row[3 + JAW :]] for row in rows]
    found = livelink.load(written(tmp_path / "a.csv", rows))
    assert not found.weights[:, JAW].any() and found.weights.any() and found.notes == ()


def test_more_than_half_lost_is_refused(tmp_path):
    _, rows = take()
    rows[:7] = [[row[0], "0"] for row in rows[:7]]
    with pytest.raises(Refused, match="7 of 12 rows have no face"):
        livelink.load(written(tmp_path / "a.csv", rows))


def test_percent_is_recognised_and_nonsense_refused(tmp_path):
    values, rows = take()
    percent = [[*row[:2], *(f"{100 * float(v):.4f}" for v in row[2:54]), *row[54:]] for row in rows]
    found = livelink.load(written(tmp_path / "a.csv", percent))
    np.testing.assert_allclose(found.weights, values[:, :52], atol=1e-6)
    np.testing.assert_allclose(found.rotations, values[:, 52:], atol=1e-6)
    assert len(found.notes) == 1 and "divided by 100" in found.notes[0]
    signs = [[*row[:2], *(f"{v} %" for v in row[2:54]), *row[54:]] for row in percent]
    np.testing.assert_array_equal(livelink.load(written(tmp_path / "a.csv", signs)).weights, found.weights)

    def with_jaw(*cells):
        _, rows = take()
        for row, cell in zip(rows, cells, strict=False):
            row[2 + JAW] = cell
        return written(tmp_path / "a.csv", rows)

    assert livelink.load(with_jaw("1.04", "-0.02")).weights[:, JAW].max() == 1.04  # a little too far
    for cell, words in (("57", "neither"), ("3.1", "neither"), ("900", "neither"), ("-40", "go down to")):
        with pytest.raises(Refused, match=words):
            livelink.load(with_jaw(cell))


def test_degrees_are_recognised(tmp_path):
    _, rows = take()
    for row in rows:
        row[54] = "28.5"
    found = livelink.load(written(tmp_path / "a.csv", rows))
    np.testing.assert_allclose(found.rotations[:, 0], np.radians(28.5))
    assert "degrees" in found.notes[0]


@pytest.mark.parametrize(
    "change, header, words",
    [
        (lambda row: [*row, "0.5"], None, "row 2: 64 cells under 63 columns"),
        (lambda row: [*row, "0.5"], [*HEADER, ""], "column 64 holds values but has no name"),
        (lambda row: [*row, "0.5"], [*HEADER, "eyeBlink_L"], "same name"),
        (lambda row: [*row[:5], "wide", *row[6:]], None, "row 2: 'wide' under .* is no number"),
        (lambda row: [*row[:5], "1e999", *row[6:]], None, "row 2"),
        (lambda row: ["", *row[1:]], None, "row 2: the timecode '' is not"),
        (lambda row: row[:2], ["Timecode", "BlendShapeCount"], "none of its columns is one of ARKit's"),
    ],
)
def test_wrong_tables(change, header, words, tmp_path):
    _, rows = take()
    path = written(tmp_path / "a.csv", [change(row) for row in rows], header=header)
    with pytest.raises(Refused, match=words) as caught:
        livelink.load(path)
    assert str(path) in str(caught.value)


def test_a_pause_longer_than_the_take_is_refused_and_says_where(tmp_path):
    _, first = take(30)
    _, second = take(30)
    later = [["14:20" + row[0][5:], *row[1:]] for row in second]
    with pytest.raises(Refused, match="row 32: .* s without a row .*cut the file there"):
        livelink.load(written(tmp_path / "a.csv", [*first, *later]))
    short = [["14:00:00" + row[0][8:], *row[1:]] for row in second[10:]]  # a second or so is bridged
    bridged = livelink.load(written(tmp_path / "a.csv", [*first, *short]))
    assert bridged.seconds[-1] < 2 and bridged.notes == ()
    later = [["14:00:01" + row[0][8:], *row[1:]] for row in second[10:]]
    assert livelink.load(written(tmp_path / "a.csv", [*first, *later])).notes == (
        "a pause of 1.7 s without a row was bridged.",
    )
