"""Triplets as a COCO keypoint file, each point's text as the annotation's caption.

python examples/coco_keypoints.py TRIPLETS.jsonl OUT.json
"""

import sys

from talking_points.exports import triplets_to_coco, write_json
from talking_points.records import read_triplets

content = triplets_to_coco(read_triplets(sys.argv[1]))
write_json(sys.argv[2], content)
print(f"{len(content['annotations'])} keypoints on {len(content['images'])} photos")
