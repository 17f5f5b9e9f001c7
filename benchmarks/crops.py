"""Photos and points that the benchmarks of speed ask about."""

from __future__ import annotations

import numpy as np
from matplotlib.cbook import get_sample_data
from PIL import Image

from talking_points.photos import open_photo


def photos_of(count: int) -> list[Image.Image]:
    """Crops of the photo that matplotlib ships, all different."""
    whole = open_photo(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    places = np.random.default_rng(0).choice(60 * 60, size=count, replace=False)
    return [whole.crop((x, y, x + 440, y + 500)) for y, x in (divmod(int(place), 60) for place in places)]


def points_of(count: int) -> list[tuple[float, float]]:
    rng = np.random.default_rng(1)
    return [(float(x), float(y)) for x, y in rng.uniform((40, 40), (400, 460), size=(count, 2))]
