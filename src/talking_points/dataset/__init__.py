"""Building image, point and text triplets from part-labelled photos."""
