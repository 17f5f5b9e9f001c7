"""A file of points and texts as FiftyOne samples. With FiftyOne installed, look at them so:

    import fiftyone, json
    dataset = fiftyone.Dataset()
    dataset.add_samples([fiftyone.Sample.from_dict(one) for one in json.load(open("OUT.json"))])
    fiftyone.launch_app(dataset)

python examples/fiftyone_samples.py POINTS.jsonl OUT.json
"""

import json
import sys
from pathlib import Path

from talking_points import open_photo, photo_to_unit
from talking_points.sample_files import read_samples

path = Path(sys.argv[1])
samples: dict[str, dict] = {}
count = 0
for line in read_samples(path):
    if line.problem:
        sys.exit(f"{path}:{line.number}: {line.problem}")
    one = line.record
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
    count += 1
Path(sys.argv[2]).write_text(json.dumps([*samples.values()], ensure_ascii=False), encoding="utf-8")
print(f"{count} keypoints on {len(samples)} photos")
