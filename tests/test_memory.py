from __future__ import annotations

import subprocess
import sys

import pytest

ADDRESSES = """
import ctypes, sys
from talking_points.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes, libc.sbrk.argtypes = [ctypes.c_size_t], [ctypes.c_void_p], [ctypes.c_ssize_t]
block = libc.malloc(1 << 26)
top = libc.sbrk(0)
libc.free(block)
print(block < top, libc.sbrk(0) == top)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
def test_large_blocks_come_from_the_heap_and_stay_there() -> None:
    """64 MiB: by itself glibc maps it, beside the heap, and unmaps it when it is freed."""
    said = {
        way: subprocess.run([sys.executable, "-c", ADDRESSES, way], capture_output=True, text=True, check=True).stdout
        for way in ("default", "keep")
    }
    assert said == {"default": "False True\n", "keep": "True True\n"}
