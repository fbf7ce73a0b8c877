"""Every test of this folder keeps what it compiled."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def kept_programs(compilation_cache):
    pass
