"""Whether words mean what lies at a pixel: judged in this one place for Python, the shell and agents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from talking_points.pointing.interfaces import LocalizerRole
from talking_points.points import Point, check_points
from talking_points.samples import RUNNER_UP_SHARE, FoundPoint, absence, percent

NEAR = 0.1
"""What counts as the same place, in the photo's longer side: the smaller of `heatmaps.RADII`."""
LIKELY = 0.5
"""More likely than not. Ours."""


Answer = Literal["yes", "maybe", "no", "not in the photo"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether the point that a text means is at a pixel; see `judge` for what is judged, and how."""

    answer: Answer | None
    """None where the model gave no answer; `found.problem` says why."""
    probability: float | None
    """That the thing is in the photo and the point meant within a tenth of the photo's longer side of the pixel. None
    where the model does not know how sure it is."""
    found: FoundPoint
    """Where the text leads instead, or as well."""

    def in_words(self) -> str:
        """One line for people and agents."""
        if self.answer is None:
            return f"no answer: {self.found.problem}"
        likely = ""
        if self.probability is not None:
            likely = f", {percent(self.probability)} likely to be what is meant"
        leads = ""
        if not math.isnan(self.found.point_px[0]):
            leads = "; the words lead to ({:.1f}, {:.1f})".format(*self.found.point_px)
        if self.found.runner_up_px is not None:
            leads += ", or else to ({:.1f}, {:.1f})".format(*self.found.runner_up_px)
        return f"{self.answer}{likely}{leads}"


def verify(localizer: LocalizerRole, photo: Any, asked: Sequence[tuple[Point, str]]) -> list[Verdict]:
    """Judge points and texts of one photo, one verdict a pair.

    Args:
        localizer: one that has `sure_at` is asked for probabilities.
        photo: as the localizer's `prepare` gives it.
        asked: points, in pixels of the photo, each with a text.

    Raises:
        ValueError: a point is outside the photo, or a text is empty or too long; says which.
    """
    points = check_points([point for point, _ in asked], photo.size_wh).tolist()
    for _, text in asked:
        localizer.check_text(text)
    sure_at: Callable[[Any, Any], list[tuple[FoundPoint, float | None]]] | None = getattr(localizer, "sure_at", None)
    if sure_at is not None:
        answers = sure_at(photo, asked)
    else:
        answers = [(found, None) for found in localizer.locate_many([(photo, text) for _, text in asked])]
    return [judge((x, y), photo.size_wh, found, sure) for (x, y), (found, sure) in zip(points, answers, strict=True)]


def judge(point_px: Point, size_wh: tuple[int, int], found: FoundPoint, sure: float | None) -> Verdict:
    """What a localizer's answer to a text says of a pixel.

    The question is: does the point that the text means lie within a tenth of the photo's longer side of this pixel? Of
    the place that it found itself, `FoundPoint.confidence` answers it; `sure` is the same of the pixel asked, the sum
    of the localizer's heatmap within that distance, given that the thing is in the photo. Times `there` it is the
    `probability`. The answer is

    - "not in the photo" where the thing counts as absent (`samples.absence`);
    - "yes" where the probability is at least one half;
    - "maybe" where it is less, and still at least half of what it is at the best place: the words fit several places
      and this is one, or they fit this place best and not surely;
    - "no" where another place is more than twice as likely.

    A regression, a stock model and an endpoint have no heatmap: "yes" is within that distance of the point found,
    "maybe" of the runner-up, and the probability is None.

    What it is not: a look at the pixel. Two things that are nearer to each other than a tenth of the photo are not told
    apart, and "yes" does not say that the pixel is on the thing and not beside it. It is the judgement of the one
    localizer: where that is wrong about the text, it is wrong here, and of a point that `locate` has just found for the
    same text on the same photo nothing new is learnt.

    Args:
        point_px: asked, in pixels of the photo.
        size_wh: of the photo.
        found: where the text leads.
        sure: probability near the point asked, given that the thing is in the photo; None where it is not known.

    Example:
        >>> found = FoundPoint(point_px=(30, 20), confidence=0.5, runner_up_px=(80, 20), there=0.9)
        >>> judge((82, 20), (100, 40), found, 0.4).answer, judge((50, 20), (100, 40), found, 0.05).answer
        ('maybe', 'no')
    """

    def is_near(other: Point | None) -> bool:
        return other is not None and math.dist(point_px, other) < NEAR * max(size_wh)

    probability = None if sure is None else sure * (1.0 if found.there is None else found.there)
    answer: Answer | None
    if found.problem is not None:
        answer = None
    elif absence(found.there):
        answer = "not in the photo"
    elif sure is None or probability is None or found.confidence is None:
        answer = "yes" if is_near(found.point_px) else "maybe" if is_near(found.runner_up_px) else "no"
    elif probability >= LIKELY:
        answer = "yes"
    else:
        answer = "maybe" if sure >= RUNNER_UP_SHARE * found.confidence else "no"
    return Verdict(answer=answer, probability=probability, found=found)
