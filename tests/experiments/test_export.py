"""The command that writes an avatar for other programs."""

import pytest

from experiments import export
from zero1a_jax.errors import Refused


def test_weights_are_pairs():
    assert export.weight("jawOpen:0.6") == ("jawOpen", 0.6)
    for text in ("jawOpen", "jawOpen:wide", "jawOpen=1"):
        with pytest.raises(Refused, match="must be NAME:WEIGHT"):
            export.weight(text)


@pytest.mark.parametrize("given", [{"pose": ("jawOpen:1",), "to": "page"}, {"motions": ("a.csv",)}], ids=str)
def test_what_belongs_to_the_other_kind_is_refused(given):
    with pytest.raises(Refused, match="--pose is for --to=ply, --motions for --to=page"):
        export.main(export.Options(avatar="a", out="b", **given))


@pytest.mark.parametrize("given", [{}, {"avatar": "a"}, {"out": "b"}], ids=str)
def test_what_is_missing_is_said(given):
    with pytest.raises(Refused, match="give --avatar=FOLDER and --out=FOLDER"):
        export.main(export.Options(**given))
