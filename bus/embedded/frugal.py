"""Memory given back: a process that works in bursts of columns keeps less of them. Only advice to the allocators, no limit."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa

# From malloc.h of glibc.
M_TRIM_THRESHOLD = -1
M_ARENA_MAX = -8
TRIM_BYTES = 1_000_000
ARENAS = 2  # more make threads wait less for each other, and each keeps its own peak


def be_frugal() -> None:
    """Tell glibc, where it is there, and Arrow how this process wants its memory handled. Call it before any thread starts."""
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_ARENA_MAX, ARENAS)
            mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
