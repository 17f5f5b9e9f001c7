"""What models answered: kept while a run is at work, and written out sample by sample at its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from talking_points.evaluation.protocol import Row
from talking_points.evaluation.samples import Sample


class KeptAnswers:
    """What models answered so far, kept line by line, so that a killed run loses a window at most."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self._known: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> KeptAnswers:
        whole = 0
        if self._path.is_file():
            lines = self._path.read_bytes().splitlines(keepends=True)
            if lines and lines[0] == self._head():
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    whole += len(line)
                    if line != lines[0]:
                        stage, window, values = json.loads(line)
                        self._known[stage, window] = values
        self._file = self._path.open("r+b" if whole else "wb")
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._file.write(self._head())
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _head(self) -> bytes:
        return f"{json.dumps(self._key)}\n".encode()

    def get(self, stage: str, window: Sequence[Sample]) -> Any:
        return self._known.get((stage, window[0].sample_id))

    def put(self, stage: str, window: Sequence[Sample], values: list[Any]) -> list[Any]:
        self._file.write(f"{json.dumps([stage, window[0].sample_id, values])}\n".encode())
        self._file.flush()
        return values


_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("set", "describer", "style", "localizer", "sample", "photo", "object", "part")]
    + [(name, pa.float64()) for name in ("width", "height", "x", "y")]
    + [("text", pa.string())]
    + [(name, pa.float64()) for name in ("found_x", "found_y", "error")]
)


def write_samples(path: Path, rows: Sequence[Row]) -> None:
    """Every text, point and error as Parquet: a line for each sample of each row.

    Points are pixels, `error` the distance in normalised coordinates; without an answer they are null.
    """
    lines = []
    for row in rows:
        for index, (sample, error) in enumerate(zip(row.samples, row.errors, strict=True)):
            (x, y), (found_x, found_y) = row.true_px[index].tolist(), row.found_px[index].tolist()
            answered = bool(np.isfinite(error))
            lines.append(
                {
                    "set": row.set_name,
                    "describer": row.describer,
                    "style": row.style,
                    "localizer": row.localizer,
                    "sample": sample.sample_id,
                    "photo": sample.photo_id,
                    "object": sample.object_name,
                    "part": sample.part_name,
                    "width": sample.size_wh[0],
                    "height": sample.size_wh[1],
                    "x": x,
                    "y": y,
                    "text": row.texts[index],
                    "found_x": found_x if answered else None,
                    "found_y": found_y if answered else None,
                    "error": float(error) if answered else None,
                }
            )
    pq.write_table(pa.Table.from_pylist(lines, schema=_SCHEMA), path, compression="zstd")
