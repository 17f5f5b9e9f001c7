"""A built set on disk: its record, and the Parquet files in `data/` that `datasets.load_dataset` opens as they are.

Rows are sorted by photo, and a photo that several rows share lies in a row group once. Equal records give equal
bytes.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from talking_points.files import appears_whole
from talking_points.photos import decode_photo, open_photo
from talking_points.points import Box, Point

ReadPhoto = Callable[["BuiltRecord"], bytes]
"""Gives the bytes of a record's photo file."""

SPLITS = ("train", "test")
ROWS_A_FILE = 5000
ROWS_A_GROUP = 64
"""What is read at least to see one photo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltRecord:
    """A point of a photo with everything that led to its text, from the scan of the photo to the finished set.

    Its fields are the set's columns, in their order. What a later stage of the build adds is None, or "", before.
    Points and boxes are in pixels of the upright photo.
    """

    record_id: str
    """Source, photo and number, as in "pascal-part-116/2008_000033/002"."""
    source: str
    """Name of the dataset."""
    photo_id: str
    """Name of the photo in its source."""
    photo_width: int
    photo_height: int
    point_px: Point
    object_name: str
    object_category: str
    """The broader class that the source's authors count by, such as "quadruped"; the name where there is none."""
    object_box_xyxy: Box
    part_name: str
    part_box_xyxy: Box | None = None
    """None for a named keypoint, which has no extent: see `point_kind`."""
    text: str | None = None
    """The coarse-to-fine description; None of named keypoints."""
    draft: str | None = None
    """After the first stage of synthesis."""
    relations: str | None = None
    """The hierarchical spatial annotation in words."""
    object_description: str | None = None
    """By `object_describer`, of the whole photo with the point."""
    local_description: str | None = None
    """By `local_describer`, of what is right around the point."""
    dialect: str | None = None
    """A key of `places.DIALECTS`."""
    object_describer: str | None = None
    """"rules" or a model's name; so are the next two."""
    local_describer: str | None = None
    writer: str | None = None
    prompts_sha256: str | None = None
    """Of the prompts that models were asked with; None when no model was asked."""
    point_kind: str
    """"sift" or "smooth"; older sets have "named", too, a keypoint of AP-10K."""
    sift_response: float | None = None
    """Strength of the keypoint, as OpenCV gives it; None for a point that is not SIFT's."""
    sift_scale_px: float | None = None
    """Diameter of the keypoint's neighbourhood, in pixels of the photo."""
    seed: int
    """Of the build."""
    split: str = ""
    """"train" or "test": which of the files the record is in."""
    photo_path: str = ""
    """Name of the photo's file in the set; its path where photos are not embedded."""

    def __post_init__(self) -> None:
        x, y = self.point_px
        # Written so that NaN fails, too.
        if not (0 <= x <= self.photo_width and 0 <= y <= self.photo_height):
            where = f"the {self.photo_width}x{self.photo_height} photo"
            raise ValueError(f"record {self.record_id}: point_px [{x}, {y}] is outside {where}")

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the photo, in pixels."""
        return self.photo_width, self.photo_height

    @property
    def point_unit(self) -> Point:
        """The point in the photo's [0, 1]^2: x / width, y / height."""
        return self.point_px[0] / self.photo_width, self.point_px[1] / self.photo_height

    @property
    def photo_key(self) -> tuple[str, str]:
        """Source and id of the photo."""
        return self.source, self.photo_id

    def to_row(self) -> dict[str, Any]:
        """Its columns and values, for a table or JSON; `record_of_row` is the inverse."""
        return {name: getattr(self, name) for name in COLUMNS}


_NUMBERS = pa.list_(pa.float64())
_ARROW = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "Point": _NUMBERS, "Box": _NUMBERS}


def _columns() -> dict[str, pa.DataType]:
    columns: dict[str, pa.DataType] = {}
    for field in fields(BuiltRecord):
        columns[field.name] = _ARROW[str(field.type).removesuffix(" | None")]
        if field.name == "point_px":
            columns["point_unit"] = _NUMBERS
    # The split is the file's; the photo's path lies beside its bytes.
    return {name: kind for name, kind in columns.items() if name not in ("split", "photo_path")}


COLUMNS = _columns()
"""Of the Parquet files, beside `photo`."""


def record_of_row(row: Mapping[str, Any], **more: Any) -> BuiltRecord:
    """A record from its columns, lists of numbers in place of tuples. more: `split` and `photo_path`, where known."""
    values: dict[str, Any] = {name: row[name] for name in COLUMNS if name != "point_unit"}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return BuiltRecord(**values, **more)


def _schema() -> pa.Schema:
    names = {pa.string(): "string", pa.float64(): "float64", pa.int64(): "int64"}
    values: dict[pa.DataType, Any] = {kind: {"dtype": name, "_type": "Value"} for kind, name in names.items()}
    values[_NUMBERS] = {"feature": values[pa.float64()], "_type": "Sequence"}
    features = {"photo": {"_type": "Image"}, **{name: values[kind] for name, kind in COLUMNS.items()}}
    photo = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    # The metadata is what `datasets` reads to show photos as images and not as bytes.
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([("photo", photo), *COLUMNS.items()], metadata=metadata)


def write_split(folder: Path, split: str, records: Sequence[BuiltRecord], read_photo: ReadPhoto | None) -> list[Path]:
    """Write the Parquet files of one split of a set into its folder's `data/`; none when there are no records.

    `records` are sorted by photo. `read_photo` embeds the photos' files; None leaves their paths alone.
    """
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(records), ROWS_A_FILE)
    files = []
    for number, start in enumerate(starts):
        path = data / f"{split}-{number:05d}-of-{len(starts):05d}.parquet"
        with appears_whole(path) as unfinished:
            _write_file(unfinished, records[start : start + ROWS_A_FILE], read_photo)
        files.append(path)
    return files


def _write_file(path: Path, records: Sequence[BuiltRecord], read_photo: ReadPhoto | None) -> None:
    schema = _schema()
    texts = [f"{name}.list.element" if kind == _NUMBERS else name for name, kind in COLUMNS.items()]
    options: dict[str, Any] = {
        "compression": {**dict.fromkeys(["photo.path", *texts], "zstd"), "photo.bytes": "none"},
        "use_dictionary": True,
        # Never given up for its size: the dictionary is what keeps a photo of many rows from being stored many times.
        "dictionary_pagesize_limit": 2**30,
        # The smallest and largest photo, as bytes, would be stored again as statistics.
        "write_statistics": ["record_id", "source"],
    }
    with pq.ParquetWriter(path, schema, **options) as writer:
        for start in range(0, len(records), ROWS_A_GROUP):
            group = records[start : start + ROWS_A_GROUP]
            of_photo = {record.photo_path: record for record in group}
            photos = {path: read_photo(record) for path, record in of_photo.items()} if read_photo else {}
            rows = [
                {"photo": {"bytes": photos.get(one.photo_path), "path": one.photo_path}, **one.to_row()}
                for one in group
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=ROWS_A_GROUP)


class BuiltSplit:
    """One split of a built set, opened for reading: a sequence of records, and a photo for each.

    The texts and numbers are read at once, a photo when it is asked for.
    """

    def __init__(self, folder: Path | str, split: str) -> None:
        """Open a split; a ValueError where the folder holds no built set, no such split, or a file of another kind."""
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
        for path in paths:
            try:
                file = pq.ParquetFile(path, memory_map=True)
                if {"photo", *COLUMNS} != set(file.schema_arrow.names):
                    raise ValueError(f"{path} has other columns than a built set")
                tables.append(file.read(columns=[*COLUMNS, "photo.path"], use_threads=False))
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
        return next(self._records(self._table.slice(index, 1)))

    def __iter__(self) -> Iterator[BuiltRecord]:
        return self._records(self._table)

    def _records(self, table: pa.Table) -> Iterator[BuiltRecord]:
        for batch in table.to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                yield record_of_row(row, split=self.split, photo_path=row["photo"]["path"])

    def photo(self, index: int) -> Image.Image:
        """The photo of a record, RGB and upright; a ValueError or FileNotFoundError where it is not there any more."""
        first, file, group = self._groups[bisect.bisect_right(self._groups, (index, 2**31, 0)) - 1]
        column = self._files[file].read_row_group(group, columns=["photo.bytes"], use_threads=False)["photo"]
        data = column.combine_chunks().field("bytes")[index - first]
        return decode_photo(data.as_buffer()) if data.is_valid else open_photo(self[index].photo_path)
