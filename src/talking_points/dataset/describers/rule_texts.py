"""The describer that needs no network: what `describers.rules` measured, in the words of the grammar."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from talking_points.dataset.describers.describer import Level, PointTask, Refusal
from talking_points.dataset.grammar import write_local_text, write_object_text


class RuleDescriber:
    """Describes from facts alone; the photo is not opened."""

    name = "rules"

    def __init__(self, level: Level) -> None:
        self.level = level

    def describe(self, open_photo: Callable[[], Image.Image], tasks: Sequence[PointTask]) -> list[str | Refusal]:
        """See `PhotoDescriber`."""
        # The level is part of the seed: the two texts about a point choose their words apart.
        if self.level == "object":
            return [write_object_text(t.facts, t.dialect, np.random.default_rng([t.seed, 1])) for t in tasks]
        return [write_local_text(t.facts, np.random.default_rng([t.seed, 2])) for t in tasks]
