"""The training state on disk: the last two, each whole under a name that holds its checksum, or not there at all."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)

KEPT = 2
"""States kept: should the last one be broken, the one before it serves."""
_NAME = re.compile(r"state-(\d{8})-([0-9a-f]{32})\.pt")
_UNFINISHED = "state.part"


def save_state(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a state beside those before it, then drop all but the last `KEPT`. A kill leaves one or the other.

    Args:
        step: that the state comes after.
        state: what `torch.load(weights_only=True)` reads back.
    """
    unfinished = folder / _UNFINISHED
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    path = folder / f"state-{step:08d}-{_checksum(unfinished)}.pt"
    unfinished.replace(path)
    others = [one for one in _states(folder) if one != path]
    # States of this step and later ones are here only if they were broken, and this run started before them.
    broken = [one for one in others if int(one.name.split("-")[1]) >= step]
    for old in broken + [one for one in others if one not in broken][KEPT - 1 :]:
        old.unlink()
    return path


def load_state(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The last whole state, on the CPU, and its file; None where there is none. A broken one is named and passed over.

    Raises:
        ValueError: there are states, and every one is broken.
    """
    paths = _states(folder)
    for path in paths:
        match = _NAME.fullmatch(path.name)
        assert match is not None
        if _checksum(path) == match[2]:
            return path, torch.load(path, weights_only=True, map_location="cpu")
        log.warning("%s is broken: its bytes are not those that were written; using the state before it", path)
    if paths:
        raise ValueError(
            f"every training state in {folder} is broken, {paths[0].name} first; delete them to start anew"
        )
    return None


def _states(folder: Path) -> list[Path]:
    """Last first."""
    return sorted((path for path in folder.glob("state-*.pt") if _NAME.fullmatch(path.name)), reverse=True)


def _checksum(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(2**22):
            digest.update(chunk)
    return digest.hexdigest()
