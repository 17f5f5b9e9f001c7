"""Files of points of photos: JSON lines, CSV, Parquet or what annotation tools write in, `Line`s out, one by one.

What a file is, its name's ending says: .csv, .parquet, .json (COCO keypoints, or Label Studio's JSON), .xml (CVAT),
JSON lines for any other. One whose content is something else is refused in one line that says what it looks like. With
`talking_points.fields` records have other names, and JSON is a list or lines. Here alone old forms are read.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO

from talking_points.annotations import Found, cvat_points, is_label_studio, label_studio_points
from talking_points.cells import cell_as_json, plain
from talking_points.fields import Fields, OtherFields
from talking_points.labels.coco_keypoints import coco_keypoints
from talking_points.labels.problems import LabelError
from talking_points.labels.reading import each_once, read_json
from talking_points.photos import photo_size
from talking_points.points import ROUNDED_ONE, WITHIN_ONE_PIXEL, is_finite_number, look_normalised
from talking_points.progress import OnNote, one_line, unheard
from talking_points.samples import PhotoPoint, labelled_point, point_of_record

MOST_LINE_BYTES = 2**20
"""A longer line is no line of ours."""
HEAD_BYTES = 2**16
"""What is looked at to tell what a file is."""
ROWS_AT_ONCE = 128
"""Rows of a Parquet file that are read together."""
_EXPECTED = 'expected JSON lines, one object such as {"photo": "a.jpg", "x": 1, "y": 2} a line'
_RENAMED = "or say with --fields what its records call them"
_NO_TEXT = {
    rb"\xff\xfe\0\0|\0\0\xfe\xff": "is UTF-32; save it as UTF-8",
    rb"\xff\xfe|\xfe\xff": "is UTF-16; save it as UTF-8",
    rb".?\0": "looks like UTF-16 without a byte order mark; save it as UTF-8",
    rb"PAR1": "is a Parquet file; name it .parquet",
    rb"\x1f\x8b|PK\x03\x04": "is compressed; unpack it first",
}
"""How a file begins that is no text in UTF-8, and what is said of it."""
LOOKED_AT = 100
"""Lines of a file that may all look normalised before it is refused; they are held so long. Ours."""
_QUOTES = 'a cell in quotes ends with one, and has "" for each inside'
_COCO = rb'\{\s*"(images|annotations|categories|info|licenses)"\s*:'
_NO_JSON_LINES = {
    _COCO: "looks like COCO's JSON; name it .json",
    rb"\[": f"is a JSON array; {_EXPECTED} (jq -c '.[]' makes them), {_RENAMED}",
    rb"\{[^\S\n]*\n": f"is JSON over several lines; {_EXPECTED} (jq -c . makes them)",
    rb"[^\n]*\}[^\S\n]*,[^\S\n]*(\n|\Z)": f"has a comma after the object of its first line; {_EXPECTED}",
    rb"[^\n]*\r[^\r\n]": "ends its lines with CR alone; save it with LF or CR LF",
    rb'(?i)(?=[^\n]*photo)(?=[^\n]*[,;\t])[^{"]': f"looks like CSV; name it .csv, or else {_EXPECTED}",
}
"""The same of text under the name of JSON lines."""

SizeOf = Callable[[Path], tuple[int, int]]
Reader = Callable[[Path, OnNote], Iterator["Line"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line, row or keypoint of a file."""

    number: int
    """Of the line in the file, blank ones counted, or of the row or keypoint; from 1."""
    record: dict[str, Any]
    """In the form of `samples`, other keys carried along; JSON without NaN. Empty when it could not be read."""
    problem: str | None = None
    """Why it could not be read."""
    photo_bytes: bytes | None = None
    """The photo's file where it lies in the row, as in built sets."""


def read_samples(
    path: Path, *, wants_text: bool = False, on_note: OnNote = unheard, fields: Fields | None = None
) -> Iterator[Line]:
    """Lines of a file, one at a time.

    Args:
        path: of the file.
        fields: what its records call photo, point and text; None: as ours do.
        wants_text: whether texts are asked about: then a `description` stands for a missing `text`.
        on_note: told once each what was assumed.

    Raises:
        FileNotFoundError, ValueError: no such file, it is of another kind, or its points look normalised; says which.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    told: set[str] = set()

    def note(message: str) -> None:
        if message not in told:
            told.add(message)
            on_note(f"{path}: {message}")

    ending = path.suffix.lower()
    if ending != ".parquet":
        _refuse(path, _NO_TEXT)
    reader = _KINDS.get(ending, _json_lines) if fields is None else _kind_with_fields(path)
    lines = reader(path, note)

    def as_ours(line: Line) -> Line:
        record = line.record
        if ending != ".parquet" and ("photo_path" in record or "point_px" in record):
            note('"photo_path" and "point_px" are read for one more version; write "photo", "x" and "y"')
            record = _from_columns(record)
        if wants_text and record.get("text") is None and isinstance(record.get("description"), str):
            note('"description" is read as the "text" to find, for one more version; name it "text"')
            record = {**record, "text": record["description"]}
        return replace(line, record=record)

    read = map(as_ours, lines if fields is None else _renamed(path, lines, fields, note))
    # With fields, what looks normalised is known line by line; points beside a text that is asked about say nothing.
    yield from read if wants_text or fields is not None else _in_pixels(path, read, note)


def _in_pixels(path: Path, lines: Iterator[Line], note: OnNote) -> Iterator[Line]:
    """A file's lines, unchanged, once their points are known not to be normalised.

    Raises:
        ValueError: its points, or those of the first `LOOKED_AT` lines, all look so. Of a single one `note` is told.
    """
    held: list[Line] = []
    points: list[tuple[float, float]] = []
    for line in itertools.islice(lines, LOOKED_AT):
        held.append(line)
        x, y = line.record.get("x"), line.record.get("y")
        if is_finite_number(x) and is_finite_number(y):
            points.append((x, y))
            if not (0 <= x <= ROUNDED_ONE and 0 <= y <= ROUNDED_ONE):
                break
    if look_normalised(points):
        if len(points) > 1:
            raise ValueError(
                f"{path}: the points look normalised, the first is {list(points[0])}; expected pixels: multiply by the "
                "photo's width and height, or add --fields scale=1"
            )
        note(WITHIN_ONE_PIXEL)
    yield from held
    yield from lines


def count_samples(path: Path, *, fields: Fields | None = None) -> int:
    """How many lines `read_samples` gives."""
    reader = _KINDS.get(path.suffix.lower(), _json_lines) if fields is None else _kind_with_fields(path)
    if reader is not _json_lines:
        return sum(1 for _ in reader(path, unheard))
    with path.open("rb") as file:
        return sum(1 for _ in _raw_lines(file))


def read_points(
    path: Path,
    *,
    on_problem: Callable[[str], None] | None = None,
    on_note: OnNote = unheard,
    size_of: SizeOf = photo_size,
    fields: Fields | None = None,
) -> list[PhotoPoint]:
    """The points of a file with what is known of them, to train or to score on.

    Args:
        path: of the file, to whose folder its photos' paths are relative.
        on_problem: told of each line that is passed over, and why; None: such a line is an error.
        on_note: told once each what was assumed.
        size_of: see `point_of_line`.
        fields: as `read_samples` takes them.

    Raises:
        FileNotFoundError, ValueError: as `read_samples`; or a line is wrong, or its photo cannot be opened.
    """
    size_of = cache(size_of)
    points = []
    for line in read_samples(path, on_note=on_note, fields=fields):
        try:
            points.append(point_of_line(line, path.parent, size_of))
        except (ValueError, OSError) as error:
            problem = f"{path}, line {line.number}: {one_line(error)}"
            if on_problem is None:
                raise ValueError(problem) from None
            on_problem(problem)
    return points


def point_of_line(line: Line, folder: Path, size_of: SizeOf) -> PhotoPoint:
    """A line's point, with its photo's path as written, the photo's size, and the line's number.

    Args:
        line: of a file in `folder`.
        size_of: width and height of a photo's file, upright: `photo_size`, or one that opens the whole photo.

    Raises:
        ValueError, OSError: the line is wrong, or its photo cannot be opened.
    """
    if line.problem is not None:
        raise ValueError(line.problem)
    if line.photo_bytes is not None:
        raise ValueError("the photo lies in the row; give the folder of the built set")
    photo = point_of_record(line.record, wants_text=False).photo or ""
    return replace(labelled_point(line.record, size_of(folder / photo)), line=line.number)


def _from_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    """`photo_path` and `point_px`, which built sets have, as `photo`, `x` and `y` in front of the other keys."""
    rest = {key: value for key, value in record.items() if key not in ("photo_path", "point_px")}
    taken = {"photo": record["photo_path"]} if "photo_path" in record else {}
    point = record.get("point_px")
    if isinstance(point, list | tuple) and len(point) == 2:
        taken |= {"x": point[0], "y": point[1]}
    return {**taken, **rest}


# Other names


def _kind_with_fields(path: Path) -> Reader:
    """Of a file whose records have other names; JSON is what it looks like."""
    if table := {".csv": _csv_rows, ".parquet": _parquet_rows}.get(path.suffix.lower()):
        return partial(table, needs_photo=False)
    _refuse(path, {_COCO: "looks like COCO's JSON, which is read without --fields"})
    with path.open("rb") as file:
        is_list = file.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
    return _json_list if is_list else _json_lines


def _renamed(path: Path, lines: Iterator[Line], fields: Fields, note: OnNote) -> Iterator[Line]:
    """Lines under our names. The first that is not of the form that was said is an error, later ones are problems."""
    size_of = cache(lambda photo: photo_size(path.parent / photo))
    held = list(itertools.islice(lines, LOOKED_AT))  # until the first record is read: one of these has the text
    for line in itertools.chain(held, lines):
        if line.problem is None:
            if held:
                note(fields.described(line.record))
            try:
                line = replace(line, record=fields.read(line.record, size_of, [one.record for one in held]))
            except (ValueError, OSError) as error:
                if held and isinstance(error, OtherFields):
                    raise ValueError(f"{path}, line {line.number}: {error}") from None
                line = Line(number=line.number, record={}, problem=one_line(error))
            held = []
        yield line


def _json_list(path: Path, note: OnNote) -> Iterator[Line]:
    try:
        records = _loads(_decoded(path.read_bytes().removeprefix(codecs.BOM_UTF8), "file"), note, "JSON")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for number, record in enumerate(records, start=1):
        try:
            yield Line(number=number, record=_object(record))
        except ValueError as error:
            yield Line(number=number, record={}, problem=one_line(error))


# JSON lines


def _json_lines(path: Path, note: OnNote) -> Iterator[Line]:
    _refuse(path, _NO_JSON_LINES)
    with path.open("rb") as file:
        for number, raw in _raw_lines(file):
            try:
                yield Line(number=number, record=_parse(raw, note))
            except ValueError as error:
                yield Line(number=number, record={}, problem=one_line(error))


def _raw_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank, without a byte order mark; of one that is too long only the beginning."""
    number = 0
    while line := file.readline(MOST_LINE_BYTES):
        number += 1
        rest = line
        while len(rest) == MOST_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MOST_LINE_BYTES)
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, line


def _parse(raw: bytes, note: OnNote) -> dict[str, Any]:
    if len(raw) >= MOST_LINE_BYTES and not raw.endswith(b"\n"):
        raise ValueError(f"longer than a line may be, {MOST_LINE_BYTES:,} bytes")
    return _object(_loads(_decoded(raw, "line"), note, "a JSON line"))


def _decoded(raw: bytes, of: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start + 1} of the {of}; save the file as UTF-8") from None


def _loads(text: str, note: OnNote, what: str) -> Any:
    """JSON in which no number is infinite or none, and no key is given twice."""

    def finite(number: str) -> float | None:
        value = float(number)
        return value if math.isfinite(value) else no_number(number)

    def no_number(name: str) -> float | None:
        note(f"{name} is no number of JSON and is read as null")
        return None

    try:
        return json.loads(text, parse_float=finite, parse_constant=no_number, object_pairs_hook=each_once)
    except RecursionError:
        raise ValueError(f"not {what}: nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not {what}: {error}") from None


def _object(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise ValueError(
            f'expected an object such as {{"photo": "a.jpg", "x": 1, "y": 2}}, got {type(record).__name__}'
        )
    return record


def _refuse(path: Path, beginnings: Mapping[bytes, str]) -> None:
    """ValueError for a file with one of these beginnings."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
    for pattern, said in beginnings.items():
        if re.match(pattern, head):
            raise ValueError(f"{path} {said}")


# Tables


def _csv_rows(path: Path, note: OnNote, *, needs_photo: bool = True) -> Iterator[Line]:
    begins = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            # Else an unclosed quote swallows the rows after it.
            rows = csv.reader(file, strict=True)
            names = [name.strip() for name in next(rows, [])]
            _check_columns(path, names, needs_photo)
            begins = rows.line_num + 1
            for cells in rows:
                begins = rows.line_num + 1
                if not any(cells):
                    continue
                if len(cells) != len(names):
                    problem = f"{len(cells)} cells, the header has {len(names)}"
                    yield Line(number=rows.line_num, record={}, problem=problem)
                    continue
                record = {name: cell_as_json(name, cell) for name, cell in zip(names, cells, strict=True)}
                yield Line(number=rows.line_num, record=record)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8, at byte {error.start + 1}; save it as UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV from line {begins} on: {error}; {_QUOTES}") from None


def _check_columns(path: Path, names: list[str], needs_photo: bool) -> None:
    if len(names) == 1 and re.search(r"[;\t]", names[0]):
        mark = "';'" if ";" in names[0] else "tabs"
        raise ValueError(f"{path} separates its columns with {mark}; save it with commas")
    if len(set(names)) < len(names):
        raise ValueError(f"{path} has two columns of one name among {', '.join(names):.200}")
    if needs_photo and not {"photo", "photo_path"} & set(names):
        raise ValueError(
            f"{path} has the columns {', '.join(names):.200}; expected photo, and x and y or text, {_RENAMED}"
        )


def _parquet_rows(path: Path, note: OnNote, *, needs_photo: bool = True) -> Iterator[Line]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file: {str(error).splitlines()[0]}") from None
    with table:
        _check_columns(path, table.schema_arrow.names, needs_photo)
        number = 0
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                data = None
                if isinstance(photo := row.get("photo"), dict):
                    data, row["photo"] = photo.get("bytes"), photo.get("path")
                if row.get("photo_width") and row.get("photo_height"):
                    row["size_wh"] = [row["photo_width"], row["photo_height"]]
                record = {key: plain(value) for key, value in row.items() if not isinstance(value, bytes)}
                yield Line(number=number, record=_from_columns(record), photo_bytes=data)


# COCO keypoints


def _coco_keypoints(path: Path, note: OnNote) -> Iterator[Line]:
    """The labelled keypoints of a COCO file, each a line of its own; or those of Label Studio's JSON.

    Photos are sought beside the file, in `images/` there, and in `data/` and `images/` beside its folder.
    """
    try:
        content = read_json(path)
    except LabelError as error:
        if "JSON lines" in str(error):
            raise ValueError(f"{path} looks like JSON lines; name it .jsonl") from None
        raise
    if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
        yield from _numbered(path, coco_keypoints(path, content, note))
        return
    if is_label_studio(content):
        yield from _numbered(path, label_studio_points(path, content))
        return
    what = "a JSON array" if isinstance(content, list) else "no COCO file"
    kinds = "COCO keypoints or Label Studio's tasks"
    raise ValueError(f"{path} is {what}; a .json holds {kinds}, a .jsonl one object a line, {_RENAMED}")


# Annotation tools


def _cvat(path: Path, note: OnNote) -> Iterator[Line]:
    yield from _numbered(path, cvat_points(path))


def _numbered(path: Path, found: Iterator[Found]) -> Iterator[Line]:
    number = 0
    try:
        for number, (record, problem) in enumerate(found, start=1):
            yield Line(number=number, record=record, problem=problem)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no export of Label Studio: {type(error).__name__} {error}") from None
    if not number:
        raise ValueError(f"{path} has no points")


_KINDS: dict[str, Callable[[Path, OnNote], Iterator[Line]]] = {
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
    ".json": _coco_keypoints,
    ".xml": _cvat,
}
OTHER_ENDINGS = tuple(_KINDS)
"""Of files that hold no JSON lines."""
