"""Generated photos that a builder can tell apart: alike ones are the same shot to it, and go to one split together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def shade_photos(folder: Path) -> None:
    """Give each photo of a folder light and shade of its own."""
    for number, path in enumerate(sorted(folder.iterdir())):
        shade = np.random.default_rng(number).integers(0, 256, (4, 4), dtype=np.uint8)
        with Image.open(path) as image:
            own = Image.fromarray(shade).resize(image.size).convert("RGB")
            Image.blend(image.convert("RGB"), own, 0.6).save(path, quality=95)
