"""Pictures as PNG, with what they say about where they come from."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from zero1a_jax.outputs import label
from zero1a_jax.provenance import SOURCE_TYPE, Provenance

# The packet's id is XMP's own, the same in every file.
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmp:CreatorTool="{program}" xmp:CreateDate="{date}" Iptc4xmpExt:DigitalSourceType="{kind}"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def encode(image: np.ndarray, provenance: Provenance | None = None) -> bytes:
    """An image, uint8 [H, W, 3] or [H, W, 4] with straight alpha, as the bytes of a .png.

    `provenance` is what its text chunks and XMP (IPTC's DigitalSourceType) say, and whether it is labelled.
    """
    chunks = None
    if provenance is not None:
        image = label.draw(image) if provenance.label else image
        chunks = PngInfo()
        chunks.add_text("Software", provenance.program)
        chunks.add_text("Description", provenance.sentence)
        chunks.add_text("Creation Time", provenance.date)
        chunks.add_itxt("XML:com.adobe.xmp", xmp(provenance))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True, pnginfo=chunks)
    return buffer.getvalue()


def xmp(provenance: Provenance) -> str:
    """The packet that says program, date and that it is made by software; JPEG has it too."""
    return _XMP.format(program=provenance.program, date=provenance.date, kind=SOURCE_TYPE)
