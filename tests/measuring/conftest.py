"""Every test of this folder keeps what it compiled; a small CLIP model."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def kept_programs(compilation_cache):
    pass


@pytest.fixture(scope="session")
def clip_folder():
    """A CLIP model with random weights, and pictures: clip_folder.py."""
    spec = importlib.util.spec_from_file_location(
        "zero1a_test_clip", Path(__file__).with_name("clip_folder.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
