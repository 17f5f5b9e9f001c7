"""Triplets as FiftyOne samples. With FiftyOne installed, look at them so:

    import fiftyone, json
    dataset = fiftyone.Dataset()
    dataset.add_samples([fiftyone.Sample.from_dict(one) for one in json.load(open("OUT.json"))])
    fiftyone.launch_app(dataset)

python examples/fiftyone_samples.py TRIPLETS.jsonl OUT.json
"""

import sys

from talking_points.exports import triplets_to_fiftyone, write_json
from talking_points.records import read_triplets

samples = triplets_to_fiftyone(read_triplets(sys.argv[1]))
write_json(sys.argv[2], samples)
print(f"{sum(len(one['points']['keypoints']) for one in samples)} keypoints on {len(samples)} photos")
