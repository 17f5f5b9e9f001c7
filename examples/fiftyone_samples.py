"""A file of points and texts as FiftyOne samples. With FiftyOne installed, look at them so:

    import fiftyone, json
    dataset = fiftyone.Dataset()
    dataset.add_samples([fiftyone.Sample.from_dict(one) for one in json.load(open("OUT.json"))])
    fiftyone.launch_app(dataset)

python examples/fiftyone_samples.py POINTS.jsonl OUT.json
"""

import argparse
import json
import sys
from pathlib import Path

from talking_points import open_photo, photo_to_unit
from talking_points.pages import counted
from talking_points.sample_files import read_samples
from talking_points.samples import point_of_record


def as_samples(path: Path) -> list[dict]:
    samples: dict[str, dict] = {}
    for line in read_samples(path):
        if line.problem:
            raise ValueError(f"{path}:{line.number}: {line.problem}")
        one = line.record
        if one.get("problem"):
            print(f"{path}:{line.number}: left out: {one['problem']}", file=sys.stderr)
            continue
        point_of_record(one, wants_text=False)
        if one["photo"] not in samples:
            width, height = one.get("size_wh") or open_photo(path.parent / one["photo"]).size
            samples[one["photo"]] = {
                "filepath": one["photo"],
                "tags": [],
                "metadata": {"_cls": "ImageMetadata", "width": width, "height": height},
                "points": {"_cls": "Keypoints", "keypoints": []},
            }
        sample = samples[one["photo"]]
        size_wh = (sample["metadata"]["width"], sample["metadata"]["height"])
        sample["points"]["keypoints"].append(
            {
                "_cls": "Keypoint",
                "label": one.get("part_name") or "point",
                "points": photo_to_unit([(one["x"], one["y"])], size_wh).tolist(),
                "description": [one.get("text") or ""],
                "tags": [],
                "attributes": {},
            }
        )
    return [*samples.values()]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("points", type=Path, help="a file of points and texts, as describe --out writes it")
parser.add_argument("out", type=Path)
given = parser.parse_args()
try:
    samples = as_samples(given.points)
    given.out.write_text(json.dumps(samples, ensure_ascii=False), encoding="utf-8")
except (OSError, ValueError) as error:
    parser.exit(2, f"{error}\n")
count = sum(len(sample["points"]["keypoints"]) for sample in samples)
print(f"{counted(count, 'keypoint')} on {counted(len(samples), 'photo')}")
