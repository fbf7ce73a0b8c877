"""What an output that shows a made person says about itself: that it is synthetic, and what made it.

Whoever gets a video or a picture later should be able to tell. Every writer of `outputs` takes one
`Provenance` and puts it where its format keeps such facts.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping
from typing import Any

from zero1a_jax.errors import Refused
from zero1a_jax.version import __version__

SYNTHETIC = "synthetic"
# IPTC's term for what a trained model made; programs and platforms look for it.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
EPOCH = "SOURCE_DATE_EPOCH"  # seconds since 1970, see reproducible-builds.org


@dataclasses.dataclass(frozen=True)
class Provenance:
    """The facts that a file carries, and whether its pictures show the word too."""

    date: str  # YYYY-MM-DD in UTC: no finer, so that the same run of the same day gives the same files
    seed: int | None = None  # of the run that made the avatar; None where nobody knows
    version: str = __version__  # of this package
    label: bool = False  # draw "synthetic" in a corner of every frame and picture

    @property
    def program(self) -> str:
        """Name and version of what made it."""
        return f"zero1a_jax {self.version}"

    @property
    def sentence(self) -> str:
        """All facts in one line of ASCII."""
        seed = "" if self.seed is None else f"seed {self.seed}, "
        return f"{SYNTHETIC}: made by {self.program}, {seed}{self.date}; {SOURCE_TYPE}"

    @property
    def facts(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            SYNTHETIC: True,
            "program": self.program,
            "seed": self.seed,
            "date": self.date,
            "digital_source_type": SOURCE_TYPE,
        }


def of_seed(seed: int | None, *, label: bool = False) -> Provenance:
    """The provenance of what is made today by a run of `seed`. Raises Refused as `today`."""
    return Provenance(date=today(), seed=seed, label=label)


def of_avatar(meta: Mapping[str, Any], *, label: bool = False) -> Provenance:
    """The provenance of what is made today of an avatar, whose `meta` may know the seed of its run.

    `meta`: see `outputs.save_avatar`. Raises Refused as `today`.
    """
    seed = meta.get("seed")
    return of_seed(seed if isinstance(seed, int) else None, label=label)


def today() -> str:
    """The date in UTC; where SOURCE_DATE_EPOCH is set that variable's date, so that files repeat on any day.

    Raises Refused where the variable is no number of seconds.
    """
    given = os.environ.get(EPOCH, "")
    if not given:
        return datetime.datetime.now(datetime.UTC).date().isoformat()
    try:
        return datetime.datetime.fromtimestamp(int(given), datetime.UTC).date().isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise Refused(f"{EPOCH}={given} must be whole seconds since 1970: correct it or unset it.") from error
