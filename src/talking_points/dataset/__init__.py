"""Building image, point and text triplets from part-labelled photos."""

from talking_points.dataset.scene import class_names

__all__ = ["class_names"]
