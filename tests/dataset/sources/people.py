"""A drawn face, hand and pose of the size of MediaPipe's."""

import numpy as np

from talking_points.dataset.sources.landmarks import POSE_COUNT, TABLE, Hand
from talking_points.files import read_table

SIZE = (200, 160)


def box(x0, y0, x1, y1):
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def mask(*boxes):
    pixels = np.zeros(SIZE[::-1], dtype=bool)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = True
    return pixels


FACE = {
    "face": box(40, 20, 100, 100),
    "left eye": box(76, 50, 88, 56),
    "right eye": box(52, 50, 64, 56),
    "left eyebrow": box(74, 42, 90, 46),
    "right eyebrow": box(50, 42, 66, 46),
    "nose": box(64, 52, 76, 72),
    "mouth": box(58, 80, 82, 90),
    "nose tip": ((70, 66),),
    "chin": ((70, 97),),
    "forehead": ((70, 36),),
    "left cheek": ((88, 70),),
    "right cheek": ((52, 70),),
    "left corner of the mouth": ((82, 85),),
    "right corner of the mouth": ((58, 85),),
}


def visible(**joints):
    """Joints by their words: left_wrist=(x, y)."""
    return {name.replace("_", " "): (float(x), float(y)) for name, (x, y) in joints.items()}


def pose(**joints):
    """The same as 33 rows of a file, those given visible."""
    rows = [(0.0, 0.0, 0.0)] * POSE_COUNT
    for name, (x, y) in joints.items():
        side, _, joint = name.partition("_")
        rows[read_table(TABLE)["pose"][joint.replace("_", " ")][side == "right"]] = (float(x), float(y), 0.9)
    return tuple(rows)


def open_hand(side="left", wrist=(100, 140), scale=1.0):
    """A hand that points up, its thumb to the left; the palm is 40 long."""
    points = [(0, 0), (-16, -8), (-24, -18), (-30, -28), (-34, -36)]
    for x in (-14, -2, 10, 20):
        points += [(x, -40), (x, -54), (x, -66), (x, -76)]
    return Hand(side=side, points=tuple((wrist[0] + scale * x, wrist[1] + scale * y) for x, y in points))
