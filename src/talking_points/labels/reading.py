"""JSON as people hand it in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from talking_points.file_kinds import HEAD_BYTES, kind_of
from talking_points.labels.problems import refuse


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8 or UTF-16, with a byte order mark or without; what is no JSON is a LabelError, as is a
    key that is given twice: of two lists "images", Python would take the second without a word."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    data = path.read_bytes()
    try:
        return json.loads(data, object_pairs_hook=each_once)
    except (ValueError, RecursionError) as error:
        known = kind_of(data.strip()[:HEAD_BYTES])
        if known is not None:
            what, remedy = known[0], known[1] or "give the file of the labels"
            raise refuse(path, "", f"is not valid JSON: it is {what}", remedy) from None
        if isinstance(error, UnicodeDecodeError):
            raise refuse(path, "", "is not valid JSON: its text is not UTF-8", "save it as UTF-8") from None
        start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
        found, remedy = str(error), "mend it, or export the labels again"
        if start.startswith(b"<"):
            found = "it looks like XML, as PASCAL VOC's and CVAT's own files are"
            remedy = "export the labels as COCO JSON"
        elif start.startswith(b"{") and "Extra data" in found:
            found = f"it looks like JSON lines, one record a line ({error})"
            remedy = "expected one JSON object in the whole file"
        raise refuse(path, "", f"is not valid JSON: {found}", remedy) from None


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object from its pairs, as `json.loads` hands them to its `object_pairs_hook`; ValueError for a key that is
    given twice."""
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f'"{twice:.60}" is given twice in an object, where one is meant')
    return record


def is_name(value: object) -> bool:
    """Whether something is a text that names a thing: one with a letter in it. Others cannot be said in a sentence."""
    return isinstance(value, str) and any(letter.isalpha() for letter in value)
