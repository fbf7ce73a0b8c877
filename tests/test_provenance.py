"""What outputs say about where they come from."""

import datetime
import tomllib
from pathlib import Path

import pytest

import zero1a_jax
from zero1a_jax import provenance
from zero1a_jax.errors import Refused


def test_the_date_is_that_of_the_clock_or_of_the_variable(monkeypatch):
    monkeypatch.delenv(provenance.EPOCH, raising=False)
    days = [datetime.datetime.now(datetime.UTC).date().isoformat()]
    now = provenance.of_seed(7)
    days.append(datetime.datetime.now(datetime.UTC).date().isoformat())  # midnight may lie between
    assert now.date in days and now.seed == 7 and now.version == zero1a_jax.__version__
    monkeypatch.setenv(provenance.EPOCH, "1700000000")
    assert provenance.of_seed(7, label=True) == provenance.Provenance("2023-11-14", seed=7, label=True)


def test_the_version_is_the_packages():
    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    assert zero1a_jax.__version__ == tomllib.loads(project.read_text("utf-8"))["project"]["version"]


@pytest.mark.parametrize("given", ["yesterday", "1.5", "9" * 30])
def test_a_wrong_variable_is_refused_in_a_sentence(given, monkeypatch):
    monkeypatch.setenv(provenance.EPOCH, given)
    with pytest.raises(Refused, match=f"SOURCE_DATE_EPOCH={given} must be whole seconds"):
        provenance.today()


def test_a_seed_is_a_number_or_unknown():
    """An avatar's .json is anybody's: what else stands there does not get into headers."""
    assert provenance.of_avatar({"seed": 5}).seed == 5
    for meta in ({}, {"seed": "3\nelement vertex 9"}, {"seed": None}, {"seed": 1.5}):
        about = provenance.of_avatar(meta)
        assert (
            about.seed is None and "seed" not in about.sentence and about.sentence.startswith("synthetic: ")
        )
