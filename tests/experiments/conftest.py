"""The fakes, for every test of this folder."""

import importlib.util
from pathlib import Path

import jax
import pytest

_PATH = Path(__file__).with_name("fakes.py")


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Many tests build the same programs anew; without a cache each would compile them again."""
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("xla")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(scope="session")
def fakes():
    spec = importlib.util.spec_from_file_location("zero1a_test_fakes", _PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
