"""Whether a model's points are where they should be: twenty known points of the bundled photos, asked both ways.

Users of served models have lost most of a score to a frame that was read wrongly: pixels taken for thousandths, x for
y, or a picture that the server had made smaller. So the same answers are read in every form that there is, and
compared with where the points are known to be.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from talking_points.demo import DemoPhoto, demo_photos
from talking_points.photos import open_photo, scaled_size
from talking_points.pointing.forms import FORMS, Form
from talking_points.pointing.prepared import UprightPhoto, upright_photo
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.pointing.stock import Refusal, StockLocalizer
from talking_points.points import Point, distance_unit
from talking_points.progress import OnProgress, unheard
from talking_points.samples import FoundPoint, absence

SIDES_PX = (400, 900, 2000)
"""Long sides at which each photo is shown: a frame that depends on the size shows itself. Ours."""
RIGHT_WITHIN = 0.1
"""Of the photo, as PCK@0.1 has it."""
ENOUGH = 0.7
"""Share of the points that must be found for the frame to be taken as right. Ours: a wrong frame finds a tenth."""
IN_FRAME, NEARLY = 0.3, 0.05
"""Of a model that finds fewer: the share of each size, and the median error of what it finds, that a wrong frame does
not reach. What falls within a tenth by chance lies 0.07 away. Ours."""
SHIFTED, SCALED, LEAST_SCALE = 0.03, 0.05, 0.2
"""A shift in shares of the photo, and a change of scale, that are told; and the least that still is one. Ours."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class KnownPoint:
    """A point that is asked for, on a photo at some size."""

    photo: UprightPhoto
    title: str
    point_px: Point
    text: str
    side_px: int
    """Long side of the photo at this size."""


def known_points() -> list[KnownPoint]:
    """Each known point of the bundled photos at each of `SIDES_PX`."""
    found = []
    for photo in demo_photos():
        opened = open_photo(photo.path)
        for side in SIDES_PX:
            size_wh = scaled_size(opened.size, side / max(opened.size))
            prepared = upright_photo(opened.resize(size_wh, Image.Resampling.BICUBIC))
            scale_x, scale_y = size_wh[0] / opened.width, size_wh[1] / opened.height
            found += [
                KnownPoint(
                    photo=prepared, title=photo.title, point_px=(x * scale_x, y * scale_y), text=text, side_px=side
                )
                for (x, y), text in photo.known
            ]
    return found


def check_model(model: TalkingPoints, *, on_progress: OnProgress = unheard) -> dict[str, Any]:
    """Ask a model for the known points, from words and into words.

    Args:
        model: ours, a stock model, or one behind an endpoint.
        on_progress: told what is done, how many of it, and of how many.

    Returns:
        A report, as JSON: `finding` with errors by size and by photo, `frame` with what is wrong with it and what to
        set, `absent`, `describing`, `passed`, and `in_frame`: whether what it finds says that its frame is right.
    """
    known = known_points()
    begun = time.monotonic()
    answers, found = _find(model, known, on_progress)
    finding_s = time.monotonic() - begun
    report: dict[str, Any] = {
        "finding": {**_finding(known, found), "seconds": round(finding_s, 1)},
        "frame": _frame(model.localizer, known, answers, found),
        "absent": _absent(model, on_progress),
        "describing": _describing(model, known, on_progress),
    }
    unreadable = report["finding"]["unreadable"]
    is_readable = unreadable <= len(known) // 5
    report["in_frame"] = is_readable and not report["frame"] and _is_in_frame(report["finding"])
    report["passed"] = is_readable and not report["frame"] and report["finding"]["found"] >= ENOUGH
    return report


def _find(
    model: TalkingPoints, known: Sequence[KnownPoint], on_progress: OnProgress
) -> tuple[list[str | Refusal], list[FoundPoint]]:
    """A stock model's answers as it wrote them, none of ours; and where they lead."""
    answers: list[str | Refusal] = []
    found: list[FoundPoint] = []
    on_progress("points found", 0, len(known))
    for start in range(0, len(known), 10):
        some = known[start : start + 10]
        if isinstance(model.localizer, StockLocalizer):
            said = model.localizer.asker.ask([model.localizer.question(one.photo, one.text) for one in some])
            answers += said
            found += [model.localizer.read(one, of.photo.size_wh) for one, of in zip(said, some, strict=True)]
        else:
            found += model.locate_many([(one.photo.picture, one.text) for one in some])
        on_progress("points found", start + len(some), len(known))
    return answers, found


def _error(one: KnownPoint, found: FoundPoint) -> float:
    """Infinite where there is no point."""
    if math.isnan(found.point_px[0]):
        return math.inf
    return distance_unit(found.point_px, one.point_px, one.photo.size_wh)


def _finding(known: Sequence[KnownPoint], found: Sequence[FoundPoint]) -> dict[str, Any]:
    errors = [_error(one, answer) for one, answer in zip(known, found, strict=True)]

    def of(chosen: Sequence[KnownPoint]) -> dict[str, Any]:
        some = [error for one, error in zip(known, errors, strict=True) if one in chosen]
        right = sum(error < RIGHT_WITHIN for error in some)
        return {"points": len(some), "found": round(right / len(some), 3), "median_error": _finite(some)}

    return {
        **of(known),
        "median_error_of_found": _finite([error for error in errors if error < RIGHT_WITHIN] or [math.inf]),
        "unreadable": sum(answer.problem is not None for answer in found),
        "said_absent": sum(bool(absence(answer.there)) for answer in found),
        "by_size": {str(side): of([one for one in known if one.side_px == side]) for side in SIDES_PX},
        "by_photo": {
            title: of([one for one in known if one.title == title]) for title in dict.fromkeys(k.title for k in known)
        },
        "first_problem": next((answer.problem for answer in found if answer.problem is not None), None),
    }


def _finite(errors: Sequence[float]) -> float | None:
    middle = statistics.median(errors)
    return round(middle, 4) if math.isfinite(middle) else None


# --- The frame


def _frame(
    localizer: Any, known: Sequence[KnownPoint], answers: Sequence[str | Refusal], found: Sequence[FoundPoint]
) -> dict[str, Any]:
    """What is wrong with the frame and what to set; empty where nothing is."""
    if answers:
        now = localizer.form
        shares = {name: _share_found(form, localizer, known, answers) for name, form in FORMS.items()}
        own = next(name for name, form in FORMS.items() if form is now)
        best = max(shares, key=lambda name: (shares[name], name == own))
        if shares[best] > shares[own] + 0.2:
            return {
                "style": best,
                "found_now": shares[own],
                "found_then": shares[best],
                "advice": f"the same answers read as {best!r} find {shares[best]:.0%} of the points, as {own!r} "
                f"{shares[own]:.0%}: set --style {best}",
            }
        of_photo = _share_found(replace(now, full=None), localizer, known, answers, of_photo=True)
        if of_photo > shares[own] + 0.2:
            return {
                "found_now": shares[own],
                "found_then": of_photo,
                "advice": "the answers are pixels of the photo itself and not of the picture that was sent: send "
                "photos of at most 1,000 px, or ask for shares with --style qwen or --style moondream",
            }
    return _moved(known, found)


def _share_found(
    form: Form, localizer: Any, known: Sequence[KnownPoint], answers: Sequence[Any], *, of_photo: bool = False
) -> float:
    """Of the points, those that answers lead to when they are read in a form."""
    right = 0
    for one, answer in zip(known, answers, strict=True):
        size_wh = one.photo.size_wh
        try:
            points = [] if isinstance(answer, Refusal) else form.numbers(answer)
            x, y = form.unit(points[0], size_wh if of_photo else localizer.asker.shown_wh(size_wh))
        except (ValueError, IndexError):
            continue
        right += distance_unit((x * size_wh[0], y * size_wh[1]), one.point_px, size_wh) < RIGHT_WITHIN
    return round(right / len(known), 3)


def _is_in_frame(finding: dict[str, Any]) -> bool:
    """Whether a fair share is found at every size, and closely. A wrong frame finds few, or by chance, or at a size."""
    of_found = finding["median_error_of_found"]
    fewest = min(of["found"] for of in finding["by_size"].values())
    return fewest >= IN_FRAME and of_found is not None and of_found < NEARLY


def _moved(known: Sequence[KnownPoint], found: Sequence[FoundPoint]) -> dict[str, Any]:
    """A shift or another scale that all answers share, by the medians of differences and of slopes."""
    pairs = [
        (np.array(answer.point_px) / one.photo.size_wh, np.array(one.point_px) / one.photo.size_wh)
        for one, answer in zip(known, found, strict=True)
        if not math.isnan(answer.point_px[0])
    ]
    if len(pairs) < len(known) // 2:
        return {}
    answered, true = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    said = []
    report: dict[str, Any] = {}
    for axis, name, ways in ((0, "across", ("left", "right")), (1, "down", ("up", "down"))):
        scale, shift = _line(true[:, axis], answered[:, axis])
        left_over = float(np.median(np.abs(answered[:, axis] - scale * true[:, axis] - shift)))
        # What follows no line, or one that hardly rises, is a model that does not find, and not a frame.
        if left_over > SHIFTED or scale < LEAST_SCALE:
            continue
        if abs(scale - 1) > SCALED:
            report[f"scale_{name}"] = round(scale, 3)
            said.append(f"answers are {scale:.2f} times as far {name} as the points")
        elif abs(shift) > SHIFTED:
            report[f"shift_{name}"] = round(shift, 3)
            said.append(f"answers lie {abs(shift):.0%} of the photo too far {ways[shift > 0]}")
    if not said:
        return {}
    why = "the server may show the model a picture of another size, or pad it"
    report["advice"] = (
        f"{'; '.join(said)}: {why}; ask for shares (--style qwen or --style moondream) or switch that off"
    )
    return report


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept by the median of all pairs' slopes (Theil-Sen): a few wild answers do not matter."""
    first, second = np.triu_indices(len(x), 1)
    apart = np.abs(x[first] - x[second]) > 0.1
    slope = float(np.median((y[second] - y[first])[apart] / (x[second] - x[first])[apart])) if apart.any() else 1.0
    return slope, float(np.median(y - slope * x))


# --- What is not there, and the other way


def _absent(model: TalkingPoints, on_progress: OnProgress) -> dict[str, Any]:
    """Things that are not in the photos, and how many of them the model says so of."""
    asked: list[tuple[DemoPhoto, str]] = [(photo, text) for photo in demo_photos() for text in photo.absent]
    on_progress("absent things", 0, len(asked))
    found = model.locate_many([(photo.path, text) for photo, text in asked])
    on_progress("absent things", len(asked), len(asked))
    answered = [(text, one) for (_, text), one in zip(asked, found, strict=True) if one.problem is None]
    wrong = [text for text, one in answered if not absence(one.there)]
    return {
        "asked": len(asked),
        "said_absent": len(answered) - len(wrong),
        "found_all_the_same": wrong,
        "unreadable": len(asked) - len(answered),
    }


def _describing(model: TalkingPoints, known: Sequence[KnownPoint], on_progress: OnProgress) -> dict[str, Any]:
    """The known points in the model's words, and where its own words lead it back to."""
    asked = [one for one in known if one.side_px == SIDES_PX[1]]
    on_progress("points described", 0, len(asked))
    begun = time.monotonic()
    texts = model.describe_many([(one.photo.picture, one.point_px) for one in asked])
    seconds = time.monotonic() - begun
    on_progress("points described", len(asked), len(asked))
    found = model.locate_descriptions([(one.photo.picture, text) for one, text in zip(asked, texts, strict=True)])
    errors = [math.inf if answer is None else _error(one, answer) for one, answer in zip(asked, found, strict=True)]
    return {
        "points": len(asked),
        "empty": sum(answer is None for answer in found),
        "found_again": round(sum(error < RIGHT_WITHIN for error in errors) / len(errors), 3),
        "median_error": _finite(errors),
        "seconds": round(seconds, 1),
        "texts": [
            {"photo": one.title, "asked": one.text, "said": text} for one, text in zip(asked, texts, strict=True)
        ],
    }
