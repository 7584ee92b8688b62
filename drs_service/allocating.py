"""What glibc does with memory that was freed."""

import ctypes
import ctypes.util
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
KEPT = 32 * 1024**2  # bytes that a process may have and not use
MAPPED = 4 * 1024**2  # bytes from which on a piece is the kernel's again at once


def keep_freed() -> None:
    """Have pieces of a few 100 KiB, which bodies come in, reused: asking the kernel for each costs more than the copy.

    Does nothing where there is no glibc.
    """
    name = ctypes.util.find_library("c") if sys.platform == "linux" else None
    mallopt = getattr(ctypes.CDLL(name), "mallopt", None) if name is not None else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, MAPPED)
