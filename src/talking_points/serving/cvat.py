"""An auto-annotation function for CVAT: each label of a task gets a point where its text leads.

    cvat-cli task auto-annotate 7 --function-module talking_points.serving.cvat -p labels=str:labels.json

`labels.json` is an object: what to look for, by label, as the task names its labels. They are of the type "points" or
"any". Needs cvat-sdk, which nothing else here does.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from PIL import Image

from talking_points.serving.labels import LabelFinder

if TYPE_CHECKING:
    from cvat_sdk.auto_annotation import DetectionFunctionContext, DetectionFunctionSpec
    from cvat_sdk.models import LabeledShapeRequest


class DetectionFunction:
    """What CVAT asks of a function that finds shapes on a picture."""

    def __init__(self, finder: LabelFinder) -> None:
        self.finder = finder
        self._id_of = {label: number for number, label in enumerate(finder.texts)}

    @cached_property
    def spec(self) -> DetectionFunctionSpec:
        import cvat_sdk.auto_annotation as cvataa

        labels = [cvataa.label_spec(label, number, type="points") for label, number in self._id_of.items()]
        return cvataa.DetectionFunctionSpec(labels=labels)

    def detect(self, context: DetectionFunctionContext, image: Image.Image) -> list[LabeledShapeRequest]:
        """A shape of one point for each label that is on a picture. CVAT's pixels are counted as ours.

        Args:
            context: `conf_threshold` is the least `FoundLabel.score`.
        """
        import cvat_sdk.auto_annotation as cvataa

        [found] = self.finder.find([image], least=context.conf_threshold)
        return [cvataa.shape(self._id_of[one.label], type="points", points=list(one.point_px)) for one in found]


def create(labels: str, model: str = "mini") -> DetectionFunction:
    """The function, as CVAT makes it from what follows `-p`.

    Args:
        labels: a JSON file; see `LabelFinder.load`.
        model: as `TalkingPoints.from_pretrained` takes it.
    """
    return DetectionFunction(LabelFinder.load(labels, model))
