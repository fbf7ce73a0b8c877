"""Lets the C library keep freed memory, which makes XLA on a CPU a fifth faster."""

from __future__ import annotations

import ctypes
import sys

# The constants of mallopt in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def reuse_freed_memory() -> bool:
    """Tells glibc to hand freed memory out again instead of returning it to the system; False elsewhere.

    XLA allocates the temporaries of a program anew at every call. By default glibc maps and unmaps each large
    one, and the kernel then clears every page again: 65,000 page faults in a training step of the miniature.
    Call it early. Bits do not change.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, 2**31 - 1), mallopt(M_ARENA_MAX, 1)])
