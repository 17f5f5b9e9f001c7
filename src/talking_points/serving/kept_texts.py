"""What people wrote of points, in a file that `evaluate` reads: a line is on the disk before its save is answered."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from talking_points.evaluation.samples import Sample
from talking_points.evaluation.written import last_lines
from talking_points.sample_files import OTHER_ENDINGS, read_samples

_BEGINNING = b'{"sample": "'


class KeptTexts:
    """A file of texts that grows: a later line of a sample replaces an earlier one. A context manager."""

    def __init__(self, path: Path, samples: Sequence[Sample], writer: str | None = None) -> None:
        """Read what is there already; nothing of a file that is not about these points is touched.

        Args:
            path: of JSON lines as `evaluation.written` reads them; each says the point that it is about, too.
            samples: of the whole set.
            writer: who writes, for the lines to come.

        Raises:
            ValueError, OSError: the file holds something else or texts of other points, is another process's, or cannot
                be written.
        """
        if path.suffix.lower() in OTHER_ENDINGS:
            raise ValueError(f"--out is {path}, and JSON lines are written; name it {path.with_suffix('.jsonl').name}")
        if not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"no such folder for the texts: {path.absolute().parent}")
        if path.is_dir():
            raise IsADirectoryError(f"--out is a folder, {path}; name a file in it")
        self.path, self._writer = path, writer
        with ExitStack() as opened:
            opened.enter_context(_alone(path))
            content = path.read_bytes() if path.exists() else b""
            whole = content.removesuffix(_torn(content))
            self._lines = _read(path, whole, samples) if whole else {}
            self._file = opened.enter_context(path.open("ab", buffering=0))
            if len(whole) < len(content):
                self._file.truncate(len(whole))
            if whole and not whole.endswith(b"\n"):
                self._file.write(b"\n")
            self._opened = opened.pop_all()

    def __enter__(self) -> KeptTexts:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def text(self, sample: Sample) -> str | None:
        """What was written of a sample; empty where it was skipped, None where nothing was done yet."""
        line = self._lines.get(sample.sample_id)
        return None if line is None else "" if line.get("skipped") is True else str(line["description"])

    def keep(self, sample: Sample, text: str) -> None:
        """Keep a text of a sample, an empty one as skipped. An OSError where the disk does not take it."""
        said: dict[str, Any] = {"description": text} if text else {"skipped": True}
        by = {} if self._writer is None else {"by": self._writer}
        record = {"sample": sample.sample_id, **said, **_place(sample), **by}
        line = f"{json.dumps(record, ensure_ascii=False)}\n".encode()
        end = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) != len(line):
                raise OSError("the disk is full")
            os.fsync(self._file.fileno())
        except OSError:
            # Half a line would spoil the next.
            self._file.truncate(end)
            raise
        self._lines[sample.sample_id] = record


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process is here with the same file; an OSError where one is."""
    where = path.resolve()
    lock = where.with_name(f".{where.name}.lock")
    with ExitStack() as opened:
        try:
            connection = sqlite3.connect(lock, timeout=0, isolation_level=None, check_same_thread=False)
            opened.enter_context(closing(connection))
            # Nothing is written, so nothing is to be taken back, and no second file is needed.
            connection.execute("PRAGMA journal_mode = OFF")
            # The ledger's way: the system takes the lock back from a process however that ends.
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            said = f"cannot be locked by {lock} ({error})"
            if "locked" in str(error):
                said = "is in use: another command writes to it; stop that one, or choose another --out"
            raise OSError(f"{path} {said}") from None
        try:
            yield
        finally:
            # While it is held, or else it might be the next one's. Not everywhere can an open file be removed.
            with suppress(OSError):
                lock.unlink()


def _torn(content: bytes) -> bytes:
    """A last line of ours that was cut off; empty where there is none."""
    last = content[content.rfind(b"\n") + 1 :]
    try:
        json.loads(last)
    except ValueError:
        return last if last.startswith(_BEGINNING) or _BEGINNING.startswith(last) else b""
    return b""


def _read(path: Path, whole: bytes, samples: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    """The last line of each sample, of the file's whole lines."""
    lines = itertools.islice(read_samples(path), sum(bool(line.strip()) for line in whole.split(b"\n")))
    known = {sample.sample_id: sample for sample in samples}
    found = last_lines(path, lines)
    for name, line in found.items():
        place = _place(known[name]) if name in known else {}
        if not place or any(line.get(key, value) != value for key, value in place.items()):
            raise ValueError(f"{path} has a text of {name!r:.100}, which is no point of this set; choose another --out")
    return found


def _place(sample: Sample) -> dict[str, Any]:
    """The point that is described, as files of points have it."""
    described = sample.described or sample
    x, y = described.point_px
    return {"photo": described.photo_id, "x": x, "y": y}
