"""Small files: tables of TOML and JSON, hashes of what results depend on, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@cache
def read_table(path: Path) -> dict[str, Any]:
    """A TOML or JSON file of this package, read once; nobody changes what it gives."""
    return read_json(path) if path.suffix == ".json" else read_toml(path)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file, with a byte order mark or without; anything else is a ValueError naming it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; anything else is a ValueError naming it."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        data = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds {type(data).__name__}, expected an object")
    return data


def sha256_of(content: Any) -> str:
    """Of what JSON can hold, or of bytes, in hex: equal for equal content."""
    return hashlib.sha256(content if isinstance(content, bytes) else json.dumps(content).encode()).hexdigest()


KEPT = "what is finished is kept: make room and start the same command again"
"""Of a long command that could not write."""


@contextmanager
def disk_full_explained(out: Path | None, *, goes_on: bool = True) -> Iterator[None]:
    """A full disk as one OSError that says what to do, whichever library met it.

    Args:
        out: where what is done goes; None where that is not known.
        goes_on: whether the command, started again, goes on where it was; else it begins anew.
    """
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error):
            raise
        disk = "the disk" if out is None else f"the disk of {out}"
        kept = KEPT if goes_on else "make room and start the same command again"
        raise OSError(f"{disk} is full; {kept}") from None


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, is that a disk is full."""
    while error is not None:
        # safetensors has an error of its own, of which only the words tell; torch and Pillow raise another on top.
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def appears_whole(path: Path) -> Iterator[Path]:
    """Where to write a file; what was there before stays until the new one is complete."""
    unfinished = path.with_name(f"{path.name}.part")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that `appears_whole`."""
    with appears_whole(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
