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


FREED = """
import ctypes
from pathlib import Path
from talking_points.memory import give_back_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
before, blocks = mib(), []
for _ in range(2000):
    blocks.append(libc.malloc(65536))
    ctypes.memset(blocks[-1], 1, 65536)
for block in blocks[:-1]:  # the last one stays, at the heap's end
    libc.free(block)
kept = mib() - before
give_back_freed_memory()
print(kept > 100, mib() - before < 20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux's")
def test_memory_that_is_free_within_a_heap_is_given_back() -> None:
    said = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True).stdout
    assert said == "True True\n"
