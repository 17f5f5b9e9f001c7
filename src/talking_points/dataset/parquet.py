"""The built set on disk: Parquet files in `data/`, one row a record, as `datasets.load_dataset` opens them.

Rows are sorted by photo, and a photo that several rows share lies in a row group once. Equal records give equal
bytes.
"""

from __future__ import annotations

import bisect
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from talking_points.photos import open_photo
from talking_points.records import BuiltRecord

SPLITS = ("train", "test")
ROWS_A_FILE = 5000
ROWS_A_GROUP = 64
"""What is read at least to see one photo."""

_TEXT, _NUMBER, _WHOLE, _NUMBERS = pa.string(), pa.float64(), pa.int64(), pa.list_(pa.float64())
_COLUMNS: dict[str, pa.DataType] = {
    "record_id": _TEXT,
    "source": _TEXT,
    "photo_id": _TEXT,
    "photo_width": _WHOLE,
    "photo_height": _WHOLE,
    "point_px": _NUMBERS,
    "point_unit": _NUMBERS,
    "object_name": _TEXT,
    "object_category": _TEXT,
    "object_box_xyxy": _NUMBERS,
    "part_name": _TEXT,
    "part_box_xyxy": _NUMBERS,
    "text": _TEXT,
    "draft": _TEXT,
    "relations": _TEXT,
    "object_description": _TEXT,
    "local_description": _TEXT,
    "dialect": _TEXT,
    "object_describer": _TEXT,
    "local_describer": _TEXT,
    "writer": _TEXT,
    "prompts_sha256": _TEXT,
    "point_kind": _TEXT,
    "sift_response": _NUMBER,
    "sift_scale_px": _NUMBER,
    "seed": _WHOLE,
}
"""Beside `photo`. The split is the file's."""


def _schema() -> pa.Schema:
    kinds = {_TEXT: "string", _NUMBER: "float64", _WHOLE: "int64"}
    features: dict[str, Any] = {"photo": {"_type": "Image"}}
    for name, kind in _COLUMNS.items():
        if kind == _NUMBERS:
            features[name] = {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "Sequence"}
        else:
            features[name] = {"dtype": kinds[kind], "_type": "Value"}
    photo = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [pa.field("photo", photo), *(pa.field(name, kind) for name, kind in _COLUMNS.items())]
    # What `datasets` reads to show photos as images and not as bytes.
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def write_split(
    folder: Path, split: str, records: Sequence[BuiltRecord], read_photo: Callable[[BuiltRecord], bytes] | None
) -> list[Path]:
    """Write the Parquet files of one split; each appears whole or not at all.

    Args:
        folder: of the set; the files go to its `data/`.
        split: "train" or "test".
        records: sorted by photo.
        read_photo: gives the bytes of a record's photo file, to be embedded; None leaves the path alone.

    Returns:
        The files; none when there are no records.
    """
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(records), ROWS_A_FILE)
    files = []
    for number, start in enumerate(starts):
        path = data / f"{split}-{number:05d}-of-{len(starts):05d}.parquet"
        unfinished = path.with_name(f"{path.name}.part")
        _write_file(unfinished, records[start : start + ROWS_A_FILE], read_photo)
        os.replace(unfinished, path)
        files.append(path)
    return files


def _write_file(path: Path, records: Sequence[BuiltRecord], read_photo: Callable[[BuiltRecord], bytes] | None) -> None:
    schema = _schema()
    options: dict[str, Any] = {
        "compression": {**dict.fromkeys(_leaf_columns(), "zstd"), "photo.bytes": "none"},
        "use_dictionary": True,
        # Never given up for its size: the dictionary is what keeps a photo of many rows from being stored many times.
        "dictionary_pagesize_limit": 2**30,
        # The smallest and largest photo, as bytes, would be stored again as statistics.
        "write_statistics": ["record_id", "source"],
    }
    with pq.ParquetWriter(path, schema, **options) as writer:
        for start in range(0, len(records), ROWS_A_GROUP):
            group = records[start : start + ROWS_A_GROUP]
            photos: list[bytes | None] = [None] * len(group)
            if read_photo is not None:
                kept: dict[str, bytes] = {}
                for row, record in enumerate(group):
                    if record.photo_path not in kept:
                        kept[record.photo_path] = read_photo(record)
                    photos[row] = kept[record.photo_path]
            rows = [_row(record, photo) for record, photo in zip(group, photos, strict=True)]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=ROWS_A_GROUP)


def _leaf_columns() -> list[str]:
    leaves = ["photo.bytes", "photo.path"]
    for name, kind in _COLUMNS.items():
        leaves.append(f"{name}.list.element" if kind == _NUMBERS else name)
    return leaves


def _row(record: BuiltRecord, photo: bytes | None) -> dict[str, Any]:
    row: dict[str, Any] = {"photo": {"bytes": photo, "path": record.photo_path}}
    for name in _COLUMNS:
        if name == "photo_width":
            row[name] = record.size_wh[0]
        elif name == "photo_height":
            row[name] = record.size_wh[1]
        else:
            row[name] = getattr(record, name)
    return row


def _record(row: dict[str, Any], split: str) -> BuiltRecord:
    values = {name: row[name] for name in _COLUMNS if name not in ("photo_width", "photo_height", "point_unit")}
    for name in ("point_px", "object_box_xyxy", "part_box_xyxy"):
        values[name] = None if row[name] is None else tuple(row[name])
    size_wh = (row["photo_width"], row["photo_height"])
    return BuiltRecord(**values, split=split, photo_path=row["photo"]["path"], size_wh=size_wh)


class BuiltSplit:
    """One split of a built set, opened for reading: a sequence of records, and a photo for each.

    The texts and numbers are read at once, a photo when it is asked for.
    """

    def __init__(self, folder: Path | str, split: str) -> None:
        """Open a split.

        Raises:
            ValueError: the folder holds no built set, no such split, or a file of another kind.
        """
        if split not in SPLITS:
            raise ValueError(f'split must be one of {", ".join(SPLITS)}, got "{split}"')
        self.split = split
        paths = sorted((Path(folder) / "data").glob(f"{split}-*.parquet"))
        if not paths:
            raise ValueError(f"{folder} holds no built set with a {split} split: expected data/{split}-*.parquet")
        self._files = []
        tables = []
        # For each row group: its first row in the split, its file, and its number there.
        self._groups: list[tuple[int, int, int]] = []
        rows = 0
        columns = [*_COLUMNS, "photo.path"]
        for path in paths:
            try:
                file = pq.ParquetFile(path, memory_map=True)
                if set(_schema().names) != set(file.schema_arrow.names):
                    raise ValueError(f"{path} has other columns than a built set")
                tables.append(file.read(columns=columns, use_threads=False))
            except (pa.ArrowInvalid, OSError) as error:
                raise ValueError(f"{path} cannot be read as Parquet: {error}") from None
            self._files.append(file)
            for group in range(file.num_row_groups):
                self._groups.append((rows, len(self._files) - 1, group))
                rows += file.metadata.row_group(group).num_rows
        self._table = pa.concat_tables(tables)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> BuiltRecord:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return _record(self._table.slice(index, 1).to_pylist()[0], self.split)

    def __iter__(self) -> Iterator[BuiltRecord]:
        for batch in self._table.to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                yield _record(row, self.split)

    def photo(self, index: int) -> Image.Image:
        """The photo of a record, RGB and upright; its pixels are those that the record's points are in.

        Raises:
            ValueError, FileNotFoundError: it was not embedded, and its file is not there any more.
        """
        first, file, group = self._groups[bisect.bisect_right(self._groups, (index, 2**31, 0)) - 1]
        column = self._files[file].read_row_group(group, columns=["photo.bytes"], use_threads=False)["photo"]
        data = column.combine_chunks().field("bytes")[index - first]
        if not data.is_valid:
            return open_photo(self[index].photo_path)
        with Image.open(io.BytesIO(data.as_buffer())) as image:
            return open_photo(image)
