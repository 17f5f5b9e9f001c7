"""What a describer is shown of a point's surroundings: a cut-out that fades out around it."""

from __future__ import annotations

import numpy as np
from PIL import Image

CUT_SIGMA_SHARE = 0.05
"""Standard deviation of the fading, as a share of the photo's long side. Ours."""
CUT_RADIUS_SIGMAS = 2.5
CUT_SIDE_PX = 336
"""Side of the cut-out that is shown: what CLIP's larger models look at."""
_GRAY = 128.0


def cut_out(photo: Image.Image, point_px: tuple[float, float]) -> Image.Image:
    """A square around a point of an RGB photo that fades to gray by a Gaussian; the point is exactly in its middle.

    CUT_SIDE_PX x CUT_SIDE_PX, RGB. What lies outside the photo is gray.
    """
    sigma_px = max(4.0, CUT_SIGMA_SHARE * max(photo.size))
    radius = CUT_RADIUS_SIGMAS * sigma_px
    x, y = point_px
    box = (x - radius, y - radius, x + radius, y + radius)
    side = (CUT_SIDE_PX, CUT_SIDE_PX)
    cut = photo.transform(side, Image.Transform.EXTENT, box, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128))
    offsets = (np.arange(CUT_SIDE_PX) + 0.5) / CUT_SIDE_PX * 2 - 1
    one_axis = np.exp(-((offsets * CUT_RADIUS_SIGMAS) ** 2) / 2)
    weights = np.outer(one_axis, one_axis)[:, :, None]
    faded = np.asarray(cut, dtype=np.float64) * weights + _GRAY * (1 - weights)
    return Image.fromarray(np.round(faded).astype(np.uint8))
