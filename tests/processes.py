"""Functions in processes of their own: several that know of each other, as torchrun starts them, or one that is killed.

All are forks of one clean process that has imported what takes seconds; it has run nothing and has no threads.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
LONGEST_S = 300


@cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["talking_points.training.roles", "talking_points.training.reinforce"])
    return context


def _run(
    function: Callable[..., object], arguments: tuple[Any, ...], environment: dict[str, str], stderr: str, threads: int
) -> None:
    os.environ.update(environment)
    os.chdir(ROOT)
    # A group of its own, which signals may be sent to.
    os.setsid()
    with open(stderr, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(threads)
    function(*arguments)


def start(function: Callable[..., object], *arguments: Any, stderr: Path, **environment: str) -> BaseProcess:
    """Begin a function of a module, whose stderr goes into a file, in a process that leads its own group."""
    given = (function, arguments, environment, str(stderr), torch.get_num_threads())
    process: BaseProcess = _context().Process(target=_run, args=given)
    process.start()
    return process


def launch(count: int, function: Callable[..., object], *arguments: Any) -> list[str]:
    """Run a function in so many processes that know of each other; their stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{rank}.txt" for rank in range(count)]
        processes = [
            start(function, *arguments, stderr=file, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
            for rank, file in enumerate(files)
        ]
        for process in processes:
            process.join(LONGEST_S)
        said = [file.read_text() for file in files]
        codes = [process.exitcode for process in processes]
        for process in processes:
            process.kill()
    assert codes == [0] * count, said
    return said


def exit_code_of(function: Callable[..., object], *arguments: Any) -> int | None:
    """Run a function in a process; how that ended: minus the signal that killed it."""
    process = start(function, *arguments, stderr=Path(os.devnull))
    process.join(LONGEST_S)
    process.kill()
    return process.exitcode
