"""Our own Point Descriptor, or any other `interfaces.Describer`, as a describer of the builder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from PIL import Image

from talking_points.dataset.describers.describer import Level, PointTask, Refusal
from talking_points.dataset.describers.windows import CUT_SIDE_PX, cut_out
from talking_points.pointing.interfaces import Describer


class DescriptorDescriber:
    """Describes points with a model in this process; threads take turns."""

    def __init__(self, level: Level, describer: Describer, name: str) -> None:
        self.level = level
        self.name = name
        self._describer = describer
        self._turn = threading.Lock()

    @classmethod
    def from_pretrained(cls, level: Level, name_or_folder: str, *, device: str | None = None) -> DescriptorDescriber:
        """Load a Point Descriptor: "mini", a checkpoint folder or a Hub id. Imports torch."""
        from talking_points.pointing.descriptor import PointDescriptor

        return cls(level, PointDescriptor.from_pretrained(name_or_folder, device=device), name_or_folder)

    def describe(self, open_photo: Callable[[], Image.Image], tasks: Sequence[PointTask]) -> list[str | Refusal]:
        """See `PhotoDescriber`. At the local level the model sees the faded cut-out only."""
        photo = open_photo()
        points_px = [task.facts.point_px for task in tasks]
        with self._turn:
            if self.level == "object":
                return [*self._describer.describe(photo, points_px)]
            middle = CUT_SIDE_PX / 2
            return [self._describer.describe(cut_out(photo, point), [(middle, middle)])[0] for point in points_px]
