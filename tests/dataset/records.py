"""Made-up records of a built set."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from talking_points.dataset.store import BuiltRecord


def a_record(number: int = 0, **changes: Any) -> BuiltRecord:
    photo_id = f"{number // 4:05d}"
    settings: dict[str, Any] = {
        "record_id": f"people/{photo_id}/{number % 4:03d}",
        "photo_id": photo_id,
        "split": "train",
        "source": "people",
        "photo_path": f"people/{photo_id}.jpg",
        "photo_width": 60,
        "photo_height": 120,
        "point_px": (30.5 + number % 4, 40.5),
        "object_name": "person",
        "object_category": "person",
        "object_box_xyxy": (16.0, 6.0, 54.0, 112.0),
        "part_name": "shirt",
        "part_box_xyxy": (20.0, 22.0, 40.0, 60.0),
        "text": f"the point number {number} is on the person, on the left of their red shirt.",
        "draft": "a draft",
        "relations": "on the shirt",
        "object_description": "a person",
        "local_description": "red fabric",
        "dialect": "paper",
        "object_describer": "rules",
        "local_describer": "rules",
        "writer": "rules",
        "prompts_sha256": None,
        "point_kind": "sift",
        "sift_response": 0.1,
        "sift_scale_px": 3.5,
        "seed": 0,
    }
    return BuiltRecord(**{**settings, **changes})


NAMED = {
    **dict.fromkeys(["text", "draft", "relations", "object_description", "local_description", "dialect"]),
    **dict.fromkeys(
        ["object_describer", "local_describer", "writer", "part_box_xyxy", "sift_response", "sift_scale_px"]
    ),
    "point_kind": "named",
    "part_name": "left eye",
}
"""What is different about a named keypoint."""


def photo_bytes(record: BuiltRecord) -> bytes:
    """A photo of the record's size, whose gray level follows from its id."""
    stream = io.BytesIO()
    pixels = np.full((record.size_wh[1], record.size_wh[0], 3), int(record.photo_id) % 256, dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
