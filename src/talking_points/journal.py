"""What a long run has done so far, in one SQLite file: answers paid for, and of a build photos scanned, texts written.

Everything is committed before it is used, so a run that is killed at any moment goes on from where it was.
Threads may share a ledger; two processes may not, and the second is told so.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talking_points.files import KEPT

LEDGER_NAME = "ledger.sqlite"
_SCHEMA = Path(__file__).with_name("journal.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What endpoint answers have cost so far."""

    requests: int
    tokens: int
    """Prompts and answers together."""


class Ledger:
    """The ledger of one run, in its output folder. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        """Open the ledger of `folder`, or begin one.

        Raises:
            OSError: another build is at work there, the disk is full, or the file is damaged.
        """
        self.path = folder / LEDGER_NAME
        self._lock = threading.Lock()
        with self._translated():
            self._connection = sqlite3.connect(self.path, timeout=0.5, check_same_thread=False)
            # Exclusive: from the first write until the file is closed no other process gets in.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as one OSError that says what to do."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            said = f"is damaged ({error}); move the folder away and build anew"
            if "locked" in str(error):
                said = "is in use: another build is at work in this folder"
            elif isinstance(error, sqlite3.OperationalError):
                said = f"cannot be written ({error}); {KEPT}"
            raise OSError(f"{self.path} {said}") from None

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._lock, self._translated():
            return self._connection.execute(query, values).fetchall()

    def _keep(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Put whole rows into a table, all or none; they replace those of the same key."""
        rows = list(rows)
        if rows:
            insert = f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(rows[0]))})"
            with self._lock, self._translated(), self._connection:
                self._connection.executemany(insert, rows)

    # --- of every run ---

    def keep_settings(self, settings: Mapping[str, Any]) -> None:
        """Remember what this run is of; a later one must ask for the same.

        Raises:
            ValueError: the ledger was begun with other settings; the message names the first that differs.
        """
        begun, given = self.settings(), json.loads(json.dumps(settings))
        if not begun:
            self._keep("settings", [(name, json.dumps(value)) for name, value in given.items()])
            return
        # In the order given: what a run is of comes first.
        for name in {**given, **begun}:
            if begun.get(name) != given.get(name):
                raise ValueError(
                    f"{self.path.parent} was begun with {name} {json.dumps(begun.get(name))}, now it is "
                    f"{json.dumps(given.get(name))}: repeat the first command, or give another --out"
                )

    def settings(self) -> dict[str, Any]:
        """What this run is of; empty when nothing was begun."""
        return {name: json.loads(value) for name, value in self._rows("SELECT name, value FROM settings")}

    def keep_note(self, name: str, value: Any) -> None:
        """Remember a small thing."""
        self._keep("notes", [(name, json.dumps(value))])

    def note(self, name: str) -> Any:
        """What `keep_note` was last given under this name; None before."""
        found = self._rows("SELECT value FROM notes WHERE name = ?", name)
        return json.loads(found[0][0]) if found else None

    def answer(self, request_sha256: str, ask: Callable[[], tuple[str, int, int]], *, model: str) -> str:
        """The stored answer of a request; asked, paid for and stored when there is none.

        Args:
            request_sha256: names the request.
            ask: gives the answer, the prompt's tokens and the answer's tokens.
            model: who answers; for counting.
        """
        found = self._rows("SELECT content FROM answers WHERE request_sha256 = ?", request_sha256)
        if found:
            return str(found[0][0])
        content, prompt_tokens, answer_tokens = ask()
        self._keep("answers", [(request_sha256, model, content, prompt_tokens, answer_tokens)])
        return content

    def spent(self) -> Spent:
        """What the stored answers have cost."""
        ((requests, tokens),) = self._rows("SELECT COUNT(*), TOTAL(prompt_tokens + answer_tokens) FROM answers")
        return Spent(requests=requests, tokens=int(tokens))

    # --- of a build: photos, in the order of source and id ---

    def keep_photo(
        self, source: str, photo_id: str, content: Mapping[str, Any], facts: Sequence[Any], *, skipped: str | None
    ) -> None:
        """Remember what a photo of a source gave.

        Args:
            source, photo_id: which photo.
            content: what is needed to choose among all points of all photos.
            facts: what is needed only to write about the chosen ones; see `facts_of`.
            skipped: why the photo gave nothing; None when it did.
        """
        self._keep("photos", [(source, photo_id, skipped, json.dumps(content), json.dumps(facts))])

    def facts_of(self, source: str, photo_id: str) -> list[Any]:
        """The facts that `keep_photo` was given."""
        ((facts,),) = self._rows("SELECT facts FROM photos WHERE source = ? AND photo_id = ?", source, photo_id)
        return list(json.loads(facts))

    def scanned(self) -> set[tuple[str, str]]:
        """Source and id of the photos that are done or skipped."""
        return {(source, photo_id) for source, photo_id in self._rows("SELECT source, photo_id FROM photos")}

    def photos(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Source, id and content of the photos that are not skipped."""
        query = "SELECT source, photo_id, content FROM photos WHERE skipped IS NULL ORDER BY source, photo_id"
        return ((source, photo_id, json.loads(content)) for source, photo_id, content in self._rows(query))

    def contents(self) -> Iterator[dict[str, Any]]:
        """Content of all photos, skipped ones too."""
        return (json.loads(one) for (one,) in self._rows("SELECT content FROM photos ORDER BY source, photo_id"))

    def skipped(self) -> list[Any]:
        """Source, id and reason of the skipped photos."""
        query = "SELECT source, photo_id, skipped FROM photos WHERE skipped IS NOT NULL ORDER BY source, photo_id"
        return self._rows(query)

    def keep_thumbs(self, rows: Iterable[tuple[str, str, str, str | None]]) -> None:
        """Remember thumbnails of other splits' photos: source, split, id and thumbnail, None of a bad photo."""
        self._keep("thumbs", rows)

    def thumbs(self) -> dict[tuple[str, str, str], str | None]:
        """What `keep_thumbs` was given, by source, split and id."""
        rows = self._rows("SELECT source, split, photo_id, thumb FROM thumbs ORDER BY source, split, photo_id")
        return {(source, split, photo_id): thumb for source, split, photo_id, thumb in rows}

    # --- of a build: records, in the order of their ids ---

    def keep_records(self, records: Iterable[tuple[str, Mapping[str, Any], str | None]]) -> None:
        """Remember finished records: id, content, and the reason when it is rejected."""
        self._keep("records", [(one, rejected, json.dumps(content)) for one, content, rejected in records])

    def outcomes(self) -> dict[str, str | None]:
        """Ids of the records that are written, with the reason of those that are rejected."""
        return {one: rejected for one, rejected in self._rows("SELECT record_id, rejected FROM records")}

    def records(self) -> Iterator[tuple[str, dict[str, Any], str | None]]:
        """Id, content, and reason of rejection or None, of all records."""
        query = "SELECT record_id, content, rejected FROM records ORDER BY record_id"
        return ((one, json.loads(content), rejected) for one, content, rejected in self._rows(query))
