"""avatar.html: one page with a head that moves in the browser. Nothing is loaded from outside.

The page's own source is in assets/page. Its arrays are base64 in a JSON: whole numbers, float32, or
fixed-point numbers whose error is at most half a step.
"""

from __future__ import annotations

import base64
import html
import io
import json
import struct
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import numpy as np

from zero1a_jax.outputs import png
from zero1a_jax.outputs.report import metas
from zero1a_jax.provenance import Provenance
from zero1a_jax.types import Array

_SOURCE = resources.files("zero1a_jax") / "assets" / "page"
_SCRIPTS = ("rig.js", "splats.js", "names.js", "app.js")
_WHOLE = {"u1": "uint8", "u2": "uint16", "u4": "uint32", "f4": "float32"}
_TEXTS = (b"tEXt", b"iTXt")


def plain(values: Array) -> dict[str, Any]:
    """An array as it is for the page: uint8, uint16, uint32 or float32 of any shape."""
    values = np.asarray(values)
    kind = _WHOLE[values.dtype.str[1:]]
    data = base64.b64encode(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).decode()
    return {"dtype": kind, "shape": list(values.shape), "data": data}


def fixed(values: Array, bits: int = 16) -> dict[str, Any]:
    """Numbers [..., C] in 8 or 16 bits each: low + step * integer, with low and step of their column.

    Each column's range is divided evenly, so that no value is off by more than half of
    (largest - smallest) / (2^bits - 1), and those two not at all.
    """
    values = np.asarray(values, np.float64)
    rows = values.reshape(-1, values.shape[-1])
    low, high = (rows.min(0), rows.max(0)) if len(rows) else (np.zeros(rows.shape[1]),) * 2
    step = (high - low) / (2**bits - 1)
    whole = np.rint((values - low) / np.where(step > 0, step, 1.0))
    entry = plain(whole.astype(np.uint8 if bits == 8 else np.uint16))
    return entry | {"low": low.tolist(), "step": step.tolist()}


def indices(values: Array) -> dict[str, Any]:
    """Numbers from 0 on in 16 bits each where these suffice, else in 32."""
    values = np.asarray(values)
    return plain(values.astype(np.uint16 if values.max(initial=0) < 2**16 else np.uint32))


def text(
    data: Mapping[str, Any],
    *,
    title: str,
    subtitle: str,
    why: str = "",
    provenance: Provenance | None = None,
) -> str:
    """The page as HTML.

    Args:
      data: what assets/page reads, see `showing.living.data`.
      title, subtitle: its heading and the line under it.
      why: why there are no sliders, where there are none.
      provenance: what its <meta>, its last line and its screenshots say, and whether these are labelled.
    """
    chunks = "" if provenance is None else base64.b64encode(_chunks(provenance)).decode()
    whole = {**data, "label": provenance is not None and provenance.label, "chunks": chunks}
    # A text of JSON ends no script element: "<" occurs in its strings alone, and may be written so.
    parts = {
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "why": html.escape(why),
        "footer": "" if provenance is None else html.escape(provenance.sentence),
        "metas": "".join(metas(provenance)),
        "style": _SOURCE.joinpath("style.css").read_text("utf-8"),
        "script": "\n".join(_SOURCE.joinpath(name).read_text("utf-8") for name in _SCRIPTS),
        "data": json.dumps(whole).replace("<", "\\u003c"),
    }
    pieces = _SOURCE.joinpath("page.html").read_text("utf-8").split("{{")
    return pieces[0] + "".join(_filled(piece, parts) for piece in pieces[1:])


def _filled(piece: str, parts: Mapping[str, str]) -> str:
    name, rest = piece.split("}}", 1)
    return parts[name] + rest


def _chunks(provenance: Provenance) -> bytes:
    """The text chunks that `png.encode` writes: the page puts them into its screenshots."""
    picture = png.encode(np.zeros((1, 1, 3), np.uint8), Provenance(provenance.date, provenance.seed))
    return b"".join(chunk for kind, chunk in _split(picture) if kind in _TEXTS)


def _split(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each chunk of a .png."""
    file = io.BytesIO(picture)
    file.seek(8)
    while head := file.read(8):
        length, kind = struct.unpack(">I4s", head)
        yield kind, head + file.read(length + 4)
