"""The photo that is at hand everywhere, for the demo and the page's example."""

from __future__ import annotations

from pathlib import Path

# On the photo of Grace Hopper that matplotlib ships (512x600): the cap, the face, the collar, the jacket.
DEMO_POINTS_PX = [(345.5, 120.5), (265.5, 265.5), (306.5, 392.5), (115.5, 430.5)]


def demo_photo() -> Path:
    """Grace Hopper, as matplotlib ships her."""
    from matplotlib.cbook import get_sample_data

    return Path(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
