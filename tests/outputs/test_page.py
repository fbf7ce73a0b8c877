"""The page's arrays keep their numbers, and its HTML stands alone and says where it comes from."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from zero1a_jax.outputs import page, png
from zero1a_jax.provenance import SOURCE_TYPE, Provenance

ABOUT = Provenance("2026-07-31", seed=3, version="9.8", label=True)


@pytest.mark.parametrize("bits", [8, 16])
def test_fixed_point_numbers_are_off_by_half_a_step_at_most(bits, unpacked):
    values = np.random.default_rng(0).normal(size=(50, 4, 3)) * [1e-4, 1.0, 300.0]
    values[..., 1] = 0.25  # a column without a range
    entry = page.fixed(values, bits)
    off = np.abs(unpacked(entry) - values)
    spread = values.reshape(-1, 3).max(0) - values.reshape(-1, 3).min(0)
    assert (off <= 0.5 * spread / (2**bits - 1) + 1e-12).all() and off[..., 1].max() == 0
    assert entry["dtype"] == f"uint{bits}"
    assert unpacked(page.fixed(np.zeros((0, 3)))).shape == (0, 3)


@pytest.mark.parametrize("values", [np.arange(5), np.array([7, 2**16])], ids=str)
def test_indices_take_no_more_room_than_they_need(values, unpacked):
    entry = page.indices(values)
    np.testing.assert_array_equal(unpacked(entry), values)
    assert entry["dtype"] == ("uint16" if values.max() < 2**16 else "uint32")


def written(**named):
    data = {"expressions": ["</script><b>"], "arrays": {}}
    return page.text(data, title="A <b>", subtitle="1 & 2", **named)


def test_nothing_is_loaded_from_outside_and_no_text_ends_the_script():
    text = written()
    assert not re.search(r'(?:src|href)="', text) and "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text
    assert "<title>A &lt;b&gt;</title>" in text and "1 &amp; 2" in text and "{{" not in text
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert json.loads(data)["expressions"] == ["</script><b>"]
    assert text.count("</script>") == 2


def test_it_says_that_it_is_synthetic_and_so_do_its_screenshots():
    text = written(provenance=ABOUT)
    assert f'<meta name="digital-source-type" content="{SOURCE_TYPE}">' in text
    assert f"<footer>{ABOUT.sentence}</footer>" in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert data["label"] is True
    # What app.js does with them: behind the signature and the header.
    plain = png.encode(np.zeros((4, 4, 3), np.uint8))
    with Image.open(io.BytesIO(plain[:33] + base64.b64decode(data["chunks"]) + plain[33:])) as picture:
        picture.load()
        said = picture.text
    assert said["Description"].startswith("synthetic: ") and "seed 3" in said["Description"]
    assert SOURCE_TYPE in said["XML:com.adobe.xmp"]
