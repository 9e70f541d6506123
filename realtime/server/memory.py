"""Have the C library return large blocks of memory to the system."""

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD = -3
LARGE_BLOCK = 65_536
"""Bytes. The parts of an answer to a client that reads slowly are as large."""


def return_large_blocks() -> None:
    """Let glibc map blocks of `LARGE_BLOCK` bytes and more by themselves, so that freeing one gives it back.

    By default it takes them from the heap, and small objects that live longer keep that from ever shrinking again.
    Other C libraries have no such setting.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
