from __future__ import annotations

import numpy as np
import pytest

from talking_points.dataset.scene import Scene, make_scene


def painted_scene(seed: int) -> Scene:
    """A person of three bands (t-shirt, jeans, shoes) on grey, somewhere in the photo."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(90, 110, (80, 64, 3), dtype=np.uint8)
    part_map = np.zeros((80, 64), dtype=np.int16)
    x, y = int(rng.integers(4, 30)), int(rng.integers(2, 16))
    for part, (top, height, colour) in enumerate(
        ((0, 20, (200, 30, 30)), (20, 30, (30, 30, 160)), (50, 8, (20, 20, 20)))
    ):
        rows, columns = slice(y + top, y + top + height), slice(x, x + 26)
        photo[rows, columns] = colour
        part_map[rows, columns] = part + 1
    return make_scene(
        photo, part_map, ["t-shirt", "jeans", "shoes"], [0, 0, 0], ["person"], source="painted", photo_id=f"p{seed}"
    )


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    return [painted_scene(seed) for seed in range(4)]
