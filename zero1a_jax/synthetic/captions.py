"""A look in words, for scores that compare a picture with a sentence."""

from __future__ import annotations

import numpy as np

from zero1a_jax.synthetic.identities import HAIR_COLOURS, Look

_BALD_ABOVE = 0.1  # metres over the eyes: the hairline of those who have hair lies lower
_SHORT_SIDES = 0.0085  # metres of hair at the sides; fuller hair begins there
_WAVY, _CURLY = 0.0, 0.6  # of Look.hair_curl
_STUBBLE, _FRECKLES, _LIGHT_SKIN = 0.4, 0.4, 0.35  # less is not seen, nor are freckles on darker skin


def caption(look: Look) -> str:
    """What is plain to see of one person, such as "a bald person with a beard and glasses".

    A look says nothing of gender or age, so nor does the sentence. Colours are named after the nearest that
    `identity` draws from.
    """
    bald = float(look.hair_amount) == 0 or float(look.hairline[0]) > _BALD_ABOVE
    seen = [] if bald else [f"{_hair(look)} hair"]
    seen += [] if (beard := _beard(look)) is None else [beard]
    seen += ["freckles"] if look.freckles > _FRECKLES and look.skin[0] > _LIGHT_SKIN else []
    seen += ["glasses"] if float(look.glasses[0]) > 0.5 else []
    who = "a bald person" if bald else "a person"
    return f"{who} with {_listed(seen)}" if seen else who


def _hair(look: Look) -> str:
    length = "long" if float(look.curtain[0]) > 0 else "short" if look.hair_volume[1] < _SHORT_SIDES else ""
    curl = float(look.hair_curl)
    form = "curly" if curl > _CURLY else "wavy" if curl > _WAVY else ""
    names, colours = list(HAIR_COLOURS), np.log(np.array(list(HAIR_COLOURS.values())))
    nearest = np.abs(colours - np.log(np.maximum(look.hair, 1e-3))).sum(1).argmin()
    return " ".join(filter(None, (length, form, names[nearest])))


def _beard(look: Look) -> str | None:
    if float(look.beard_thickness) > 0:
        _, chin, cheeks = np.asarray(look.beard_cover) > 0.5
        return "a beard" if cheeks else "a goatee" if chin else "a moustache"
    return "stubble" if float(look.stubble) > _STUBBLE else None


def _listed(items: list[str]) -> str:
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last
