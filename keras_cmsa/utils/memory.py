"""The memory that the steps of a training take and free, one after the other."""

import ctypes
import sys

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory():
    """Lets this process keep what it frees for what it takes next, where glibc manages its memory.

    By default glibc gives arrays of more than 32 MB back, and the kernel must clear new pages for
    them in every step. A process that keeps them stays as large as it was at its largest.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)  # never
