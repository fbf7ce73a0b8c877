"""The report stands alone, escapes what it is given, and shows what it is told."""

import base64
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from zero1a_jax.outputs import label, png, report, video
from zero1a_jax.provenance import SOURCE_TYPE, Provenance


def image(value=0.5, height=10, width=12):
    return np.full((height, width, 3), value, np.float32)


class Balanced(HTMLParser):
    """Raises where tags do not close in order."""

    EMPTY = ("meta", "img", "line", "circle", "polyline", "br")

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def written(tmp_path, *blocks):
    report.write(tmp_path / "r.html", title="A <b>", sections=[report.Section("S & T", blocks)])
    text = (tmp_path / "r.html").read_text("utf-8")
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    return text, parser.seen


def test_nothing_is_loaded_from_outside(tmp_path):
    video.write(tmp_path / "a.mp4", np.zeros((3, 16, 16, 3), np.uint8), 10)
    text, tags = written(
        tmp_path,
        "words <script>alert(1)</script>",
        report.Picture(image(), "one", scale=2),
        report.Movie(tmp_path / "a.mp4", "film"),
        report.Movie(np.zeros((3, 16, 16, 3), np.uint8), "frames"),
        report.Table(("name", "dB"), [("<x>", 1.23456), ("y", 3)], "table"),
        report.Curves({"loss": ([0, 1, 2], [3.0, 2.0, 1.0])}, "curve", "step", "loss"),
    )
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert "http" not in text and "<script" not in text
    assert "A &lt;b&gt;" in text and "S &amp; T" in text and "&lt;x&gt;" in text and "1.235" in text
    films = [attrs["src"] for tag, attrs in tags if tag == "video"]
    assert base64.b64decode(films[0].split(",")[1]) == (tmp_path / "a.mp4").read_bytes()
    assert len(films) == 2


def test_pictures_are_the_ones_given(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 7, 3)).astype(np.uint8)
    _, tags = written(tmp_path, report.Picture(pixels, scale=4))
    attrs = next(attrs for tag, attrs in tags if tag == "img")
    stored = Image.open(io.BytesIO(base64.b64decode(attrs["src"].split(",")[1])))
    np.testing.assert_array_equal(np.asarray(stored), pixels)
    assert (attrs["width"], attrs["height"]) == ("28", "36")


def points(text):
    lines = re.findall(r'polyline points="([^"]*)"', text)
    return [np.array([[float(v) for v in p.split(",")] for p in line.split()]) for line in lines]


def test_curves_are_drawn_to_scale(tmp_path):
    text, _ = written(tmp_path, report.Curves({"a": ([0, 1, 2, 4], [0, 1, 2, 4])}))
    (line,) = points(text)
    steps = np.diff(line, axis=0)
    np.testing.assert_allclose(steps[:, 0] / steps[0, 0], [1, 1, 2], atol=0.01)
    np.testing.assert_allclose(steps[:, 1] / steps[0, 1], [1, 1, 2], atol=0.01)
    assert steps[0, 0] > 0 > steps[0, 1]  # up on the page is smaller y


def test_curves_break_where_values_are_missing(tmp_path):
    y = [1, 2, np.nan, 4, np.inf, 5, 6]
    text, _ = written(tmp_path, report.Curves({"a": (range(7), y)}))
    assert [len(line) for line in points(text)] == [2, 2] and text.count("<circle") == 1
    text, _ = written(tmp_path, report.Curves({"a": ([0, 1], [np.nan, np.nan])}))
    assert "no finite values" in text
    text, _ = written(tmp_path, report.Curves({"a": ([0, 1, 2], [100.0, 10.0, 1.0])}, log_y=True))
    np.testing.assert_allclose(np.diff(points(text)[0][:, 1]), np.diff(points(text)[0][:, 1])[0], atol=0.2)


def test_constant_and_single_values_are_drawn(tmp_path):
    text, _ = written(tmp_path, report.Curves({"a": ([0, 1], [3, 3]), "b": ([0], [3])}))
    assert len(points(text)) == 1 and text.count("<circle") == 1 and "nan" not in text


@pytest.mark.parametrize(
    "block, words",
    [
        (report.Table(("a", "b"), [(1,)]), "cells"),
        (report.Picture(np.zeros((4, 4))), "expected"),
        (report.Picture(np.zeros((4, 4, 3), int)), "uint8"),
        (report.Curves({"a": ([1], [1, 2])}), "'a'"),
        (3, "int"),
    ],
)
def test_bad_blocks_are_named_and_nothing_is_written(block, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        report.write(tmp_path / "r.html", title="t", sections=[report.Section("s", [block])])
    assert list(tmp_path.iterdir()) == []


def test_contact_sheet():
    images = [image(k / 4, 10, 12) for k in range(5)]
    sheet = report.contact_sheet(images, 3, gap=2)
    assert sheet.shape == (2 * 12 + 2, 3 * 14 + 2, 3) and sheet.dtype == np.uint8
    for k in range(5):
        top, left = 2 + k // 3 * 12, 2 + k % 3 * 14
        assert (sheet[top : top + 10, left : left + 12] == round(k / 4 * 255)).all()
    assert (sheet[14:24, 32:42] == 255).all()  # the empty place
    labelled = report.contact_sheet(images, 3, labels=list("abcde"))
    assert labelled.shape[0] > sheet.shape[0] and (labelled < 255).any()
    for bad, columns, labels in [([], 1, None), (images, 0, None), ([images[0], image(1, 5, 5)], 2, None)]:
        with pytest.raises(ValueError):
            report.contact_sheet(bad, columns, labels=labels)
    with pytest.raises(ValueError, match="labels"):
        report.contact_sheet(images, 3, labels=["a"])


def test_floats_out_of_range_are_clipped(tmp_path):
    report.save_png(tmp_path / "a.png", np.array([[[-1.0, 2.0, np.nan]]]))
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[[0, 255, 0]]]


ABOUT = Provenance("2026-07-31", seed=3, version="9.8")


def chunks(data):
    """The text chunks of a .png."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.text


def test_a_png_says_that_it_is_synthetic(tmp_path):
    report.save_png(tmp_path / "plain.png", image())
    report.save_png(tmp_path / "a.png", image(), provenance=ABOUT)
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "plain.png") as other:
        np.testing.assert_array_equal(one, other)
    texts = chunks((tmp_path / "a.png").read_bytes())
    assert texts["Software"] == "zero1a_jax 9.8" and texts["Creation Time"] == "2026-07-31"
    assert texts["Description"] == f"synthetic: made by zero1a_jax 9.8, seed 3, 2026-07-31; {SOURCE_TYPE}"
    (about,) = ElementTree.fromstring(texts["XML:com.adobe.xmp"].lstrip("\ufeff")).iter(
        "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    )
    assert about.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType") == SOURCE_TYPE
    assert chunks((tmp_path / "plain.png").read_bytes()) == {}


def test_a_page_and_what_is_encoded_for_it_say_so_but_a_photograph_does_not(tmp_path):
    blocks = [
        report.Picture(image(), "made"),
        report.Picture(image(), "photograph", made=False),
        report.Movie(np.zeros((3, 16, 16, 3), np.uint8)),
    ]
    report.write(tmp_path / "r.html", title="t", sections=[report.Section("s", blocks)], provenance=ABOUT)
    parser = Balanced()
    parser.feed((tmp_path / "r.html").read_text("utf-8"))
    metas = {
        attributes.get("name"): attributes.get("content") for tag, attributes in parser.seen if tag == "meta"
    }
    assert metas["description"] == ABOUT.sentence and metas["digital-source-type"] == SOURCE_TYPE
    assert metas["generator"] == "zero1a_jax 9.8" and metas["date"] == "2026-07-31"
    made, photograph = (base64.b64decode(a["src"].split(",")[1]) for tag, a in parser.seen if tag == "img")
    assert chunks(made)["Description"] == ABOUT.sentence and chunks(photograph) == {}
    (film,) = (base64.b64decode(a["src"].split(",")[1]) for tag, a in parser.seen if tag == "video")
    assert ABOUT.sentence.encode() in film


@pytest.mark.parametrize("side", [16, 32, 256, 700])
def test_a_label_stands_in_the_corner_and_reads_on_any_background(side):
    for value in (0, 128, 255):
        plain = np.full((side, 2 * side, 3), value, np.uint8)
        changed = np.argwhere((label.draw(plain) != plain).any(-1))
        low, high = changed.min(0), changed.max(0)
        assert low[0] >= 0.4 * side and high[0] < side and high[1] < 2 * side
        assert high[1] - low[1] > min(45, 1.2 * side) and (plain == value).all()
    report_labelled = Provenance("2026-07-31", label=True)
    with Image.open(io.BytesIO(png.encode(plain, report_labelled))) as picture:
        np.testing.assert_array_equal(picture, label.draw(plain))
