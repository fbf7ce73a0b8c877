"""Looks in words."""

import jax
import numpy as np
import pytest

from zero1a_jax import config, synthetic
from zero1a_jax.sources import portraits, synthetic_portrait
from zero1a_jax.synthetic.identities import HAIR_COLOURS


@pytest.fixture(scope="module")
def plain():
    """A look whose caption names short black hair alone; nothing is compiled."""
    _, shapes = jax.eval_shape(synthetic.identity, jax.random.key(0))
    look = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    return look.replace(hair=np.array(HAIR_COLOURS["black"]), hair_amount=np.float32(1), skin=np.full(3, 0.5))


def worn(*values):
    return np.array([*values, *[0] * (6 - len(values))], np.float32)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, "a person with short black hair"),
        ({"hair_amount": 0.0}, "a bald person"),
        ({"hairline": np.full(10, 0.2)}, "a bald person"),
        ({"curtain": worn(0.1)[:4], "hair": HAIR_COLOURS["red"]}, "a person with long red hair"),
        ({"hair_volume": np.full(4, 0.012), "hair_curl": 0.9}, "a person with curly black hair"),
        ({"hair_curl": 0.4, "glasses": worn(1)}, "a person with short wavy black hair and glasses"),
        (
            {"beard_thickness": 0.002, "beard_cover": np.array([1, 1, 0])},
            "a person with short black hair and a goatee",
        ),
        ({"stubble": 0.6}, "a person with short black hair and stubble"),
        (
            {
                "hair_amount": 0.0,
                "beard_thickness": 0.002,
                "beard_cover": np.ones(3),
                "freckles": 0.8,
                "glasses": worn(1),
            },
            "a bald person with a beard, freckles and glasses",
        ),
        ({"freckles": 0.8, "skin": np.full(3, 0.1)}, "a person with short black hair"),
    ],
    ids=str,
)
def test_what_is_seen_is_said(changes, words, plain):
    assert synthetic.caption(plain.replace(**changes)) == words


@pytest.mark.parametrize("name", HAIR_COLOURS)
def test_hair_is_named_after_the_colour_that_it_was_drawn_from(name, plain):
    rng = np.random.default_rng(0)
    spread = 0.15 * rng.normal(size=(100, 1)) + 0.06 * rng.normal(size=(100, 3))
    drawn = np.array(HAIR_COLOURS[name]) * np.exp(spread)
    right = [f"short {name} hair" in synthetic.caption(plain.replace(hair=colour)) for colour in drawn]
    assert np.mean(right) > 0.9


def test_the_users_words_go_first_and_a_photograph_has_none_of_its_own(plain, monkeypatch):
    monkeypatch.setattr(synthetic_portrait, "person", lambda seed: (None, plain))
    given = {"image": "synthetic:3"}
    assert portraits.caption(config.Input(**given)) == "a person with short black hair"
    assert portraits.caption(config.Input(**given, caption=" a robot ")) == "a robot"
    assert portraits.caption(config.Input(image="me.png")) == ""
