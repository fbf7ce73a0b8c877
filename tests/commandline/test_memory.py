"""Freed memory is used again."""

import subprocess
import sys

import pytest

CODE = """
import resource
from zero1a_jax.commandline import memory
import numpy as np
assert memory.reuse_freed_memory() == {on} or not {on}
def touch():
    np.ones(4_000_000)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone")
def test_large_arrays_fault_once():
    """Ten arrays of 32 MB, one after the other, take the pages of the first."""

    def faults(code: str) -> int:
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        return int(out)

    reused = faults(CODE.format(on=True))
    plain = faults(CODE.format(on=False).replace("memory.reuse_freed_memory()", "False", 1))
    assert reused < 0.2 * plain
