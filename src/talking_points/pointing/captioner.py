"""What a base says by itself, without a descriptor's adapter."""

from __future__ import annotations

from talking_points.bases.base import Base
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.pointing.encoding import PhotoCache


class BaseCaptioner(PointDescriptor):
    """What the base says of a point without the descriptor's adapter.

    With OMG-LLaVA as the base it is the paper's object describer (3.1) and the baselines of its Table 1.
    """

    role = "base"

    def __init__(self, network: Base, cache: PhotoCache, *, region: str) -> None:
        """region: "predicted-mask" for the object's caption, OMG-LLaVA's own prompt; "gaussian" for the region's."""
        super().__init__(network, cache=cache)
        self.region = region

    def _question(self) -> list[int]:
        return self.network.prompts.caption()
