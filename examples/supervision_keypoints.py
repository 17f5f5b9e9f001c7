"""Keypoints of any detector, described; and found again as supervision.KeyPoints, drawn by its annotator.

python examples/supervision_keypoints.py PHOTO OUT.png
"""

import sys

import numpy as np
import supervision as sv

from talking_points import TalkingPoints, open_photo, photo_to_supervision, supervision_to_photo

photo = open_photo(sys.argv[1])
detected = sv.KeyPoints(xy=np.array([[[photo.width / 2, photo.height / 3], [photo.width / 3, photo.height / 2]]]))
points_px = [(x, y) for x, y in supervision_to_photo(detected)[0]]
trips = TalkingPoints.from_pretrained("mini").round_trip(photo, points_px)
for trip in trips:
    print(trip.description)
found = photo_to_supervision([trip.found_px or (np.nan, np.nan) for trip in trips])
sv.VertexAnnotator(radius=8).annotate(photo, found).save(sys.argv[2])
