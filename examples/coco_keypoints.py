"""A file of points and texts as COCO keypoints, each point's text as the annotation's caption.

python examples/coco_keypoints.py POINTS.jsonl OUT.json
"""

import argparse
import json
import sys
from pathlib import Path

from talking_points import open_photo, photo_to_coco
from talking_points.pages import counted
from talking_points.sample_files import read_samples
from talking_points.samples import point_of_record


def as_coco(path: Path) -> dict[str, list]:
    photos: dict[str, dict] = {}
    annotations: list[dict] = []
    for line in read_samples(path):
        if line.problem:
            raise ValueError(f"{path}:{line.number}: {line.problem}")
        one = line.record
        if one.get("problem"):
            print(f"{path}:{line.number}: left out: {one['problem']}", file=sys.stderr)
            continue
        point_of_record(one, wants_text=False)
        if one["photo"] not in photos:
            width, height = one.get("size_wh") or open_photo(path.parent / one["photo"]).size
            photos[one["photo"]] = {"id": len(photos) + 1, "file_name": one["photo"], "width": width, "height": height}
        # The object's box where it is known, else one pixel around the point.
        x, y = one["x"], one["y"]
        left, top, right, bottom = one.get("object_box_xyxy") or (x - 0.5, y - 0.5, x + 0.5, y + 0.5)
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": photos[one["photo"]]["id"],
                "category_id": 1,
                # COCO counts pixels from 0 at the centre of the first.
                "keypoints": photo_to_coco([(x, y)]),
                "num_keypoints": 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
                "caption": one.get("text") or "",
            }
        )
    category = {"id": 1, "name": "point", "supercategory": "", "keypoints": ["point"], "skeleton": []}
    return {"images": [*photos.values()], "annotations": annotations, "categories": [category]}


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("points", type=Path, help="a file of points and texts, as describe --out writes it")
parser.add_argument("out", type=Path)
given = parser.parse_args()
try:
    content = as_coco(given.points)
    given.out.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
except (OSError, ValueError) as error:
    parser.exit(2, f"{error}\n")
print(f"{counted(len(content['annotations']), 'keypoint')} on {counted(len(content['images']), 'photo')}")
