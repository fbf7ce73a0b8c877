"""The command that writes an avatar for other programs."""

import pytest

from experiments import export
from zero1a_jax.errors import Refused
from zero1a_jax.showing import exports


def test_weights_are_pairs():
    assert export.weight("jawOpen:0.6") == ("jawOpen", 0.6)
    for text in ("jawOpen", "jawOpen:wide", "jawOpen=1"):
        with pytest.raises(Refused, match="must be NAME:WEIGHT"):
            export.weight(text)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"pose": ("jawOpen:1",), "to": "page"}, "--pose is for what stands still"),
        ({"pose": ("jawOpen:1",), "motion": "demo"}, "--pose is for what stands still"),
        ({"motions": ("a.csv",)}, "--motions is for --to=page"),
        ({"motion": "a.csv", "to": "page"}, "--motion is not for --to=page"),
        ({"motion": "a.csv", "to": "spz"}, "--motion is not for --to=spz"),
    ],
)
def test_what_belongs_to_another_kind_is_refused(given, words):
    with pytest.raises(Refused, match=words):
        export.main(export.Options(avatar="a", out="b", **given))


def test_the_kinds_are_those_of_the_library():
    assert export.KINDS == exports.KINDS


@pytest.mark.parametrize("given", [{}, {"avatar": "a"}, {"out": "b"}], ids=str)
def test_what_is_missing_is_said(given):
    with pytest.raises(Refused, match="give --avatar=FOLDER and --out=FOLDER"):
        export.main(export.Options(**given))
