"""How this process gets its memory, and how much of it a batch may take."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BATCH_BYTES = 2**30
"""Room for a batch where a device does not say what is free. Ours."""
GPU_SHARE = 0.6
"""Of what is free on a GPU, a batch may take so much. Ours."""

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


def give_back_freed_memory() -> None:
    """Return what is free inside glibc's heaps to the kernel, a few milliseconds' work.

    It returns by itself what is free at a heap's end alone. Where many threads allocate and some of it stays, as in a
    server that keeps what it knows of photos, free memory lies in between, in a heap for each thread, and grows for
    hours. Nothing happens where there is no glibc.
    """
    if sys.platform.startswith("linux") and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def room_for_batch(device: torch.device) -> int:
    """Bytes that a batch may take: a share of what is free on a GPU, `BATCH_BYTES` on the CPU."""
    import torch

    if device.type == "cuda":
        return int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(GPU_SHARE * (torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()))
    return BATCH_BYTES
