"""How this process gets its memory: arrays of the same sizes again and again should not each be new to the kernel."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Parameters of glibc's mallopt, from its malloc.h."""


def keep_freed_memory() -> None:
    """Reuse freed memory instead of giving it back and asking for it anew.

    glibc gets every large block from the kernel and returns it when it is freed; the next one comes as zeroed pages,
    each with a fault at its first touch. A training step that frees what the next one needs spends a fifth of its
    time so. What was needed once stays with the process until it ends. Nothing happens where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)
