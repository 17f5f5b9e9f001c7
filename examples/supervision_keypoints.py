"""Keypoints of any detector, described; and found again as supervision.KeyPoints, drawn by its annotator.

python examples/supervision_keypoints.py PHOTO OUT.png
"""

import argparse

import numpy as np
import supervision as sv

from talking_points import TalkingPoints, open_photo, photo_to_supervision, supervision_to_photo

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photo")
parser.add_argument("out", help="a picture of the points found")
given = parser.parse_args()

try:
    photo = open_photo(given.photo)
except (OSError, ValueError) as error:
    parser.exit(2, f"{error}\n")
detected = sv.KeyPoints(xy=np.array([[[photo.width / 2, photo.height / 3], [photo.width / 3, photo.height / 2]]]))
points_px = [(x, y) for x, y in supervision_to_photo(detected)[0]]
trips = TalkingPoints.from_pretrained("mini").round_trip(photo, points_px)
for trip in trips:
    print(trip.description)
found = photo_to_supervision([trip.found_px or (np.nan, np.nan) for trip in trips])
sv.VertexAnnotator(radius=8).annotate(photo, found).save(given.out)
