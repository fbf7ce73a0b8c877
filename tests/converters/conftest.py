"""The writer of pickles and the judge of refusals, for every test of this folder."""

import importlib.util
import os
import re
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from zero1a_jax.converters.pickles import unpickle

SECONDS, BYTES = 4.0, 96 << 20  # tracing allocations makes everything several times slower
WATCHED = {"os.system", "subprocess.Popen", "os.posix_spawn", "exec", "compile", "pickle.find_class"}
EVENTS: list[str] = []
WATCHING = [False]


def _watch(event, _):
    if WATCHING[0] and event in WATCHED:
        EVENTS.append(event)


sys.addaudithook(_watch)  # cannot be taken away again, only switched off


@pytest.fixture(scope="session")
def pickles():
    spec = importlib.util.spec_from_file_location(
        "zero1a_test_pickles", Path(__file__).with_name("pickles.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def refused():
    return _refused


def _refused(load, path, words):
    """Loads `path`, which must be refused with `words`, and nothing may run, grow or take long."""
    EVENTS.clear()
    tracemalloc.start()
    begin = time.process_time()
    WATCHING[0] = True
    try:
        with pytest.raises(ValueError) as caught:
            load(path)
    finally:
        WATCHING[0] = False
        seconds, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    message = str(caught.value)
    assert re.search(words, message), message
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 400
    assert isinstance(caught.value, unpickle.BadFile)
    assert EVENTS == [] and not os.path.exists("boom")
    assert seconds < SECONDS and peak < BYTES + 3 * path.stat().st_size, (seconds, peak)
