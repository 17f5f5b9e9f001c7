"""Small copies of pointing benchmarks, each in its own layout: photos are generated."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIZE_WH = (60, 40)
LEFT, RIGHT = (5, 10, 20, 30), (40, 5, 55, 15)
"""Boxes of the two things on every photo."""

PIXMO_TYPES = {
    "image_url": pa.string(),
    "image_sha256": pa.string(),
    "label": pa.string(),
    "points": pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())])),
    "masks": pa.list_(pa.list_(pa.list_(pa.bool_()))),
}


def mask_of(*boxes: tuple[int, int, int, int], size_wh: tuple[int, int] = SIZE_WH) -> np.ndarray:
    mask = np.zeros(size_wh[::-1], dtype=bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def save_photo(path: Path, shade: int) -> Path:
    photo = np.full((*SIZE_WH[::-1], 3), shade, np.uint8)
    photo[mask_of(LEFT)] = (200, 30, 30)
    photo[mask_of(RIGHT)] = (30, 30, 200)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(path)
    return path


def save_mask(path: Path, mask: np.ndarray, value: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * value).save(path)


def pixmo_row(sha256: str, label: str, things: dict[tuple[float, float], tuple[int, int, int, int]]) -> dict[str, Any]:
    """things: a point in percent, and the box whose mask it belongs to."""
    return {
        "image_url": f"https://example.org/{sha256[:4]}.jpg",
        "image_sha256": sha256,
        "label": label,
        "points": [{"x": x, "y": y} for x, y in things],
        "masks": [mask_of(box).tolist() for box in things.values()],
    }


def pixmo_photos(folder: Path) -> list[str]:
    """Three photos, with an ending, another one and none; their SHA-256."""
    names = []
    for number, ending in enumerate([".png", ".jpg", ""]):
        made = save_photo(folder / "images" / "made.png", 60 + 40 * number)
        names.append(hashlib.sha256(made.read_bytes()).hexdigest())
        made.rename(folder / "images" / f"{names[-1]}{ending}")
    return names


def write_pixmo(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in PIXMO_TYPES.items()}
    pq.write_table(pa.table(columns), folder / "data" / "test-00000-of-00001.parquet")


def write_pixmo_points(folder: Path) -> None:
    """One thing, two, none, and one whose labelled point lies beside its mask."""
    one, two, three = pixmo_photos(folder)
    write_pixmo(
        folder,
        [
            pixmo_row(one, "red box", {(20, 50): LEFT}),
            pixmo_row(one, "boxes", {(20, 50): LEFT, (78, 25): RIGHT}),
            pixmo_row(two, "giraffe", {}),
            pixmo_row(three, "the box that is blue", {(78, 50): RIGHT}),
        ],
    )


def write_point_bench(folder: Path) -> None:
    """Two categories; a counting task of two; accents that data.json composes and the archive does not."""
    entries = [
        {"image_filename": "a.png", "mask_filename": "a_mask.png", "category": "spatial", "user_input": "left box"},
        {
            "image_filename": "caf\u00e9.png",
            "mask_filename": "caf\u00e9_mask.png",
            "category": "counting",
            "user_input": "Point to every box",
            "count": 2,
        },
    ]
    (folder / "selected_images").mkdir(parents=True)
    (folder / "data.json").write_text(json.dumps(entries))
    save_photo(folder / "selected_images" / "spatial" / "a.png", 90)
    save_mask(folder / "selected_masks" / "spatial" / "a_mask.png", mask_of(LEFT))
    save_photo(folder / "selected_images" / "counting" / "cafe\u0301.png", 120)
    save_mask(folder / "selected_masks" / "counting" / "cafe\u0301_mask.png", mask_of(LEFT, RIGHT))


def write_refspatial_bench(folder: Path) -> None:
    for shade, name, box in ((40, "Location", LEFT), (50, "Placement", (0, 32, 60, 40)), (60, "Unseen", RIGHT)):
        entries = [
            {
                "id": number,
                "object": f"the box that is number {number} from the left",
                "prompt": f"Please point out the box that is number {number} from the left.",
                "suffix": "Your answer should be formatted as a list of tuples.",
                "rgb_path": f"image/{number}.png",
                "mask_path": f"mask/{number}.png",
                "category": "indoor",
                "step": 1 + number,
            }
            for number in range(2)
        ]
        for number in range(2):
            save_photo(folder / name / "image" / f"{number}.png", shade + 100 * number)
            # Masks with other values than 255 count as well.
            save_mask(folder / name / "mask" / f"{number}.png", mask_of(box), value=255 - 254 * number)
        (folder / name / "question.json").write_text(json.dumps(entries))


def _rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run lengths of (H, W) pixels, uncompressed: down the columns, background first."""
    flat = mask.T.ravel().astype(int)
    ends = [*np.flatnonzero(np.diff(flat)) + 1, len(flat)]
    counts = ([0] if flat[0] else []) + [int(n) for n in np.diff([0, *ends])]
    return {"size": [*mask.shape], "counts": counts}


def write_paco(folder: Path) -> Path:
    """PACO-LVIS: a mug with a handle, and two mugs; a kind whose annotations are not exhaustive, one taken back."""
    categories = [
        {"id": 708, "name": "mug", "supercategory": "OBJECT", "synset": "mug.n.04"},
        {"id": 2100, "name": "mug:handle", "supercategory": "PART"},
        {"id": 2101, "name": "mouse_(computer_equipment):left_button", "supercategory": "PART"},
        {"id": 2102, "name": "mug:inner_body", "supercategory": "PART"},
    ]
    images, annotations = [], []

    def add(image: int, category: int, segmentation: Any) -> None:
        number = len(annotations) + 1
        known = {"id": number, "obj_ann_id": 1, "attribute_ids": [], "bbox": [0, 0, 1, 1], "area": 1.0}
        annotations.append({**known, "image_id": image, "category_id": category, "segmentation": segmentation})

    for number, (name, unsure) in enumerate(
        [("val2017/000000000001.jpg", []), ("train2017/000000000002.jpg", [2101])], 1
    ):
        save_photo(folder / name, 50 + 60 * number)
        known = {"neg_category_ids": [], "not_exhaustive_category_ids": unsure, "license": 4}
        images.append({"id": number, "file_name": name, "width": SIZE_WH[0], "height": SIZE_WH[1], **known})
        add(number, 708, _rle(mask_of((0, 0, 60, 40))))
        add(number, 2101, _rle(mask_of(LEFT)))
    add(1, 2100, _rle(mask_of(LEFT)))
    for box in (LEFT, RIGHT):
        add(2, 2100, _rle(mask_of(box)))
    add(2, 2102, [])
    path = folder / "annotations" / "paco_lvis_v1_test.json"
    path.parent.mkdir()
    content = {"images": images, "annotations": annotations, "categories": categories, "part_categories": []}
    path.write_text(json.dumps(content | {"attributes": [], "queries": []}))
    return path


def write_instruct_part(folder: Path) -> None:
    """InstructPart's test split: two parts, one of an object of two words."""
    kinds = ("task", "rewritten", "sentence", "with affordance", "phrase", "phrase with affordance")
    entries = []
    for number, (thing, part, box) in enumerate([("mug", "handle", LEFT), ("kitchen knife", "blade", RIGHT)]):
        one = {"object": thing, "part": part, "affordance": "hold", "action": "pick up"}
        one["instruction"] = [f"{kind} of the {part}" for kind in kinds]  # type: ignore[assignment]
        entries.append({"image_path": f"photo{number}.jpg", "part_list": [one]})
        stem = f"photo{number}-{thing.replace(' ', '_')}-{part}"
        save_photo(folder / "images" / f"{stem}.jpg", 60 + 80 * number)
        save_mask(folder / "masks" / f"{stem}.png", mask_of(box), value=255 - 254 * number)
    (folder / "data_test.json").write_text(json.dumps(entries))


def mask_in_base64(mask: np.ndarray) -> str:
    picture = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(picture, "PNG")
    return base64.b64encode(picture.getvalue()).decode()


def write_crosspoint_bench(folder: Path) -> None:
    """CrossPoint-Bench: two questions about one photo, and the three kinds that are none of ours."""
    lines = []
    for number, (level, box) in enumerate([("object", RIGHT), ("part", LEFT)]):
        name = f"origin_image/scene/{number}.png"
        save_photo(folder / "image" / name, 70 + 50 * number)
        known = {"type": "Fine-grained Grounding", "level": level, "images": [name], "idx": number}
        lines.append({**known, "question": f"Locate the {level} to pull.", "answer": mask_in_base64(mask_of(box))})
    pair = {"images": ["visual_image/a.png", "origin_image/b.png"], "level": "part", "question": "Which dot?"}
    lines += [{**pair, "type": "Visibility Reasoning", "answer": "A"}]
    lines += [{**pair, "type": "Correspondence-Judgement", "answer": "B"}]
    lines += [{**pair, "type": "Correspondence-Pointing", "answer": mask_in_base64(mask_of(LEFT))}]
    (folder / "CrossPoint-Bench.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
