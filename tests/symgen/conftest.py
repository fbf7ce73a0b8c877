"""The same fakes as the tests of experiments."""

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[1] / "experiments" / "fakes.py"


@pytest.fixture(scope="session")
def fakes():
    spec = importlib.util.spec_from_file_location("zero1a_test_fakes", _PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
