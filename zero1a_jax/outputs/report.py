"""One self-contained report.html: text, pictures, videos, curves, tables. Nothing is loaded from outside."""

from __future__ import annotations

import base64
import dataclasses
import html
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.outputs import curves, jpeg, png, video
from zero1a_jax.provenance import SOURCE_TYPE, Provenance


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image, uint8 [H, W, 3] or floats in 0..1, shown `scale` times as large."""

    image: np.ndarray
    caption: str = ""
    scale: int = 1
    made: bool = True  # False of a photograph: the page's provenance is not its own
    quality: int = 0  # of a JPEG; 0 is PNG


@dataclasses.dataclass(frozen=True)
class Movie:
    """A video: a path to an .mp4, or frames uint8 [T, H, W, 3] that are encoded for the report."""

    source: str | os.PathLike | np.ndarray
    caption: str = ""
    fps: float = 25.0
    scale: int = 1


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under a header. Floats are shown with three digits after the point."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Curves:
    """Lines by name, each (x [n], y [n]). Points that are not finite break the line."""

    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    caption: str = ""
    x_label: str = ""
    y_label: str = ""
    log_y: bool = False


@dataclasses.dataclass(frozen=True)
class Page:
    """A whole page within the report, as HTML."""

    text: str
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """A titled part of the report. A str is a paragraph; neighbouring pictures and films share a row."""

    title: str
    blocks: Sequence[str | Picture | Movie | Table | Curves | Page]


def write(
    path: str | os.PathLike,
    *,
    title: str,
    sections: Sequence[Section],
    subtitle: str = "",
    provenance: Provenance | None = None,
) -> None:
    """Writes the report to `path`, atomically, as one file that needs no other.

    `provenance` is what the page's <meta> say, and the pictures and films that are encoded for it.

    Raises:
      Refused: an image that is neither uint8 nor floats [H, W, 3], or a table row of the wrong length.
      FileNotFoundError: a Movie's file is missing.
    """
    body = [f"<header><h1>{html.escape(title)}</h1>"]
    body += [f"<p>{html.escape(subtitle)}</p>" if subtitle else "", "</header>"]
    if len(sections) > 2:
        links = [f'<a href="#s{i}">{html.escape(s.title)}</a>' for i, s in enumerate(sections)]
        body.append(f"<nav>{''.join(links)}</nav>")
    for index, section in enumerate(sections):
        body.append(f'<section id="s{index}"><h2>{html.escape(section.title)}</h2>')
        body += _rows(section.blocks, provenance)
        body.append("</section>")
    head, text = "".join(metas(provenance)), "\n".join(filter(None, body))
    page = _PAGE.format(metas=head, title=html.escape(title), style=_STYLE, body=text)
    files.write_text(path, page)


def contact_sheet(
    images: Sequence[np.ndarray],
    columns: int,
    *,
    labels: Sequence[str] | None = None,
    gap: int = 2,
) -> np.ndarray:
    """Places equal images in a grid, row by row, on white.

    Args:
      images: K images, uint8 [H, W, 3] or floats in 0..1, all of one size.
      columns: images a row, from 1.
      labels: K texts, one under each image.
      gap: white pixels between images.

    Returns:
      uint8 [rows * H', columns * W', 3].

    Raises:
      Refused: no images, different sizes, or a wrong number of labels.
    """
    pictures = [_checked(image) for image in images]
    if not pictures or columns < 1:
        raise Refused("a contact sheet needs at least one image and one column")
    if any(picture.shape != pictures[0].shape for picture in pictures):
        raise Refused("the images of a contact sheet must have one size; resize them first")
    if labels is not None and len(labels) != len(pictures):
        raise Refused(f"{len(labels)} labels for {len(pictures)} images")
    height, width = pictures[0].shape[:2]
    strip = 14 if labels is not None else 0
    rows = -(-len(pictures) // columns)
    cell_h, cell_w = height + strip + gap, width + gap
    sheet = np.full((rows * cell_h + gap, min(columns, len(pictures)) * cell_w + gap, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = gap + index // columns * cell_h, gap + index % columns * cell_w
        sheet[top : top + height, left : left + width] = picture
        if labels is not None:
            text = _label(labels[index], width, strip)
            sheet[top + height : top + height + strip, left : left + width] = text
    return sheet


def _checked(image: np.ndarray) -> np.ndarray:
    """An image [H, W, 3] as uint8; floats are clipped to 0..1 and scaled by 255."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise Refused(f"an image has shape {image.shape}; expected [H, W, 3]")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise Refused(f"an image is {image.dtype}; expected uint8, or floats in 0..1")
    return as_uint8(image)


def save_png(path: str | os.PathLike, image: np.ndarray, *, provenance: Provenance | None = None) -> None:
    """Writes an image (uint8, or floats in 0..1, [H, W, 3]) as .png, atomically.

    `provenance` is what its text and XMP chunks say, and whether the picture is labelled.
    """
    files.write_bytes(path, png.encode(_checked(image), provenance))


def metas(provenance: Provenance | None) -> list[str]:
    """The <meta> elements of a page that say where it comes from, a line each; none without provenance."""
    if provenance is None:
        return []
    facts = {
        "generator": provenance.program,
        "description": provenance.sentence,
        "date": provenance.date,
        "digital-source-type": SOURCE_TYPE,
    }
    return [f'<meta name="{name}" content="{html.escape(fact)}">\n' for name, fact in facts.items()]


def _rows(blocks: Sequence, provenance: Provenance | None) -> list[str]:
    """Blocks as html; pictures and films beside each other flow into one row."""
    out, row = [], []
    for block in [*blocks, None]:
        if isinstance(block, (Picture, Movie)):
            picture = isinstance(block, Picture)
            row.append(_picture(block, provenance) if picture else _movie(block, provenance))
            continue
        if row:
            out.append(f'<div class="row">{"".join(row)}</div>')
            row = []
        if isinstance(block, str):
            out.append(f"<p>{html.escape(block)}</p>")
        elif isinstance(block, Table):
            out.append(_table(block))
        elif isinstance(block, Curves):
            chart = curves.svg(block.lines, block.x_label, block.y_label, block.log_y)
            out.append(_figure(chart, block.caption))
        elif isinstance(block, Page):
            inside = html.escape(block.text, quote=True)
            title = html.escape(block.caption, quote=True)
            frame = (
                f'<iframe title="{title}" sandbox="allow-scripts allow-downloads" srcdoc="{inside}"></iframe>'
            )
            out.append(_figure(frame, block.caption))
        elif block is not None:
            raise Refused(f"a section holds a {type(block).__name__}; see Section.blocks")
    return out


def _figure(content: str, caption: str) -> str:
    text = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{content}{text}</figure>"


def _picture(block: Picture, provenance: Provenance | None) -> str:
    image = _checked(block.image)
    height, width = (block.scale * side for side in image.shape[:2])
    style = ' class="pixels"' if block.scale > 1 else ""
    about, kind = provenance if block.made else None, "jpeg" if block.quality else "png"
    encoded = jpeg.encode(image, about, quality=block.quality) if block.quality else png.encode(image, about)
    data = base64.b64encode(encoded).decode()
    alt = html.escape(block.caption, quote=True)
    size = f'width="{width}" height="{height}"'
    return _figure(f'<img{style} {size} alt="{alt}" src="data:image/{kind};base64,{data}">', block.caption)


def _movie(block: Movie, provenance: Provenance | None) -> str:
    if isinstance(block.source, (str, os.PathLike)):
        data = Path(block.source).read_bytes()
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "movie.mp4"
            video.write(path, block.source, block.fps, scale=block.scale, provenance=provenance)
            data = path.read_bytes()
    source = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
    return _figure(f'<video controls loop muted autoplay playsinline src="{source}"></video>', block.caption)


def _table(block: Table) -> str:
    for row in block.rows:
        if len(row) != len(block.columns):
            raise Refused(f"a table row has {len(row)} cells under {len(block.columns)} columns: {row}")
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in block.columns)
    body = ["<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in block.rows]
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return _figure(table, block.caption)


def _cell(value: object) -> str:
    if isinstance(value, (bool, np.bool_, str)) or value is None:
        return f"<td>{html.escape('' if value is None else str(value))}</td>"
    text = f"{float(value):.3f}" if isinstance(value, (float, np.floating)) else html.escape(str(value))
    return f'<td class="number">{text}</td>'


def _label(text: str, width: int, height: int) -> np.ndarray:
    from PIL import ImageDraw, ImageFont

    strip = Image.new("RGB", (width, height), "white")
    font = ImageFont.load_default(size=height - 4)
    ImageDraw.Draw(strip).text((1, 0), text, fill=(60, 60, 60), font=font)
    return np.asarray(strip)


_STYLE = """
:root{color-scheme:light dark;--ink:#1d2430;--soft:#5d6778;--line:#dde2ea;
--paper:#fff;--ground:#f5f6f9;--mark:#2f6fde}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8f0;--soft:#98a2b5;--line:#323a49;
--paper:#1b212c;--ground:#12161e;--mark:#7aa8ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:2rem 1.25rem 4rem;background:var(--ground);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{margin:0;font-size:1.9rem;letter-spacing:-.02em}h2{margin:0 0 .8rem;font-size:1.2rem}
header p{margin:.2rem 0 0;color:var(--soft)}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem;margin:1rem 0 0}nav a{color:var(--mark);text-decoration:none}
section{margin-top:1.4rem;padding:1.2rem 1.4rem;background:var(--paper);
border:1px solid var(--line);border-radius:10px}
p{max-width:46rem;margin:.5rem 0}.row{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}
figure{margin:.5rem 0;max-width:100%;overflow-x:auto}
figcaption{margin-top:.3rem;color:var(--soft);font-size:.87rem}
img,video{display:block;max-width:100%;height:auto;border-radius:6px}.pixels{image-rendering:pixelated}
table{border-collapse:collapse;font-size:.93rem}
th,td{padding:.3rem .9rem .3rem 0;text-align:left;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600}.number{text-align:right;font-variant-numeric:tabular-nums}
iframe{display:block;width:100%;height:860px;border:1px solid var(--line);border-radius:10px}
svg{max-width:100%;height:auto}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}svg .grid{stroke:var(--line)}
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
{metas}<title>{title}</title><style>{style}</style></head>
<body>
{body}
</body></html>
"""
