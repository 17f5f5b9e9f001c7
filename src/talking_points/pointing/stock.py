"""Stock vision-language models in the two roles, untrained: asked in words, shown pictures, their answers read.

The model itself is behind `Asker`: one of transformers in this process (`bases.stock`), or an endpoint (`asked`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from PIL import Image

from talking_points.pointing.forms import FORMS, prompt, told_there
from talking_points.pointing.pairs import Asked, OnText, answer_pairs, check_pairs, check_texts, opened, points_of_photo
from talking_points.pointing.pictures import close_up, ringed_photo
from talking_points.pointing.prepared import Photo, UprightPhoto, upright_photo
from talking_points.points import Point, check_point
from talking_points.progress import one_line
from talking_points.samples import NOWHERE, FoundPoint, says_something

log = logging.getLogger(__name__)

PHOTOS_AT_ONCE = 16
"""Photos that are open at their own size at a time. Ours."""
QUESTIONS_AT_ONCE = 32
"""Questions whose pictures are drawn at a time; what is lost where one of them ends the work. Ours."""
MOST_TEXT_CHARS = 4000
"""Of a description that is searched for. Ours."""
_RINGED_ALONE = "The first picture is a photo with a thin red ring around one point of it. The second"
_RINGED_TOO = (
    "The first picture is a photo. The second is the same photo with a thin red ring around one point of it. The third"
)
_ENLARGED = " shows the surroundings of the ring, enlarged."


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a model is asked: pictures, then words."""

    photo: UprightPhoto | None
    """Shown first, whole. Questions about one photo share what the model computes of it."""
    pictures: tuple[Image.Image, ...]
    """Of this question alone, RGB."""
    words: str
    longest: int
    """Tokens that an answer may have."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stands where an answer should be: there is none, and why."""

    reason: str


class Asker(Protocol):
    """A vision-language model that answers questions about pictures."""

    @property
    def name(self) -> str:
        """Shown to users."""

    @property
    def shares_photos(self) -> bool:
        """Whether it keeps what it has computed of a photo, so that showing the photo again costs nothing."""

    @property
    def ring_side_px(self) -> int:
        """Longest side of the photo with a ring."""

    def shown_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """Size in which the model sees a whole photo, in pixels."""

    def ask(self, questions: Sequence[Question], *, on_text: OnText | None = None) -> list[str | Refusal]:
        """An answer to each question; on_text is told the place of a question and its answer so far."""


class _Role:
    """What both roles have: a model, and how it writes points."""

    photos_at_once = PHOTOS_AT_ONCE

    def __init__(self, asker: Asker, form: str) -> None:
        """form: a key of `FORMS`."""
        self.asker, self.style, self.form = asker, form, FORMS[form]

    def prepare(self, photo: Photo) -> UprightPhoto:
        """A photo as it is; errors as `upright_photo`, and a ValueError for one that the model cannot see."""
        opened = upright_photo(photo)
        self.asker.shown_wh(opened.size_wh)
        return opened


class StockDescriptor(_Role):
    """Describes points that it is shown with a ring, enlarged, and told in the model's own coordinates."""

    def describe(self, photo: Photo, points_px: Sequence[Point]) -> list[str]:
        """Texts of points of a photo. See `PointDescriptor.describe`."""
        return self.describe_many(points_of_photo(self.prepare(photo), points_px))

    def describe_many(self, pairs: Sequence[tuple[Photo, Point]], *, on_text: OnText | None = None) -> list[str]:
        """Texts of points of many photos, "" where the model gave none. See `PointDescriptor.describe_many`."""
        check_pairs(pairs, "(x, y)")

        def work(batch: Sequence[Asked[UprightPhoto, Point]]) -> list[str]:
            told = None if on_text is None else lambda place, text: on_text(batch[place].index, one_line(text))
            answers = self.asker.ask([self.question(one.photo, one.question) for one in batch], on_text=told)
            _count(self.asker.name, [one.reason for one in answers if isinstance(one, Refusal)], len(answers))
            return ["" if isinstance(answer, Refusal) else one_line(answer) for answer in answers]

        return answer_pairs(opened(pairs, self.prepare, PHOTOS_AT_ONCE, check_point), QUESTIONS_AT_ONCE, work)

    def question(self, photo: UprightPhoto, point_px: Point) -> Question:
        """What is asked about a point of a photo (paper 3.2: object in image, part in object, point in part)."""
        picture, shares = photo.picture, self.asker.shares_photos
        width, height = photo.size_wh
        # The ring is told on the photo: in pixels of the photo as shown, or in shares of it.
        ringed = ringed_photo(picture, point_px, self.asker.ring_side_px)
        shown_wh = self.asker.shown_wh(photo.size_wh) if shares else ringed.size
        place = self.form.say((point_px[0] / width, point_px[1] / height), shown_wh)
        pictures = (_RINGED_TOO if shares else _RINGED_ALONE) + _ENLARGED
        return Question(
            photo=photo if shares else None,
            pictures=(ringed, close_up(picture, point_px)),
            words=prompt("describe", pictures=pictures, place=place),
            longest=220,
        )


class StockLocalizer(_Role):
    """Finds points by the model's own pointing. It says "not there" itself, and how sure it is, it does not say."""

    def localize(self, photo: Photo, texts: Sequence[str]) -> list[Point]:
        """Points of texts; NaN, NaN where there is none. See `PointLocalizer.localize`."""
        return [found.point_px for found in self.locate(photo, texts)]

    def locate(self, photo: Photo, texts: Sequence[str]) -> list[FoundPoint]:
        """See `PointLocalizer.locate`."""
        check_texts(texts, "text {}", self.check_text)
        prepared = self.prepare(photo)
        return self.locate_many([(prepared, text) for text in texts])

    def locate_many(self, pairs: Sequence[tuple[Photo, str]]) -> list[FoundPoint]:
        """Points of texts about many photos; `problem` where an answer could not be read.

        See `PointLocalizer.locate_many`.
        """
        check_pairs(pairs, "text")
        check_texts([text for _, text in pairs], "pair {}", self.check_text)

        def work(batch: Sequence[Asked[UprightPhoto, str]]) -> list[FoundPoint]:
            answers = self.asker.ask([self.question(one.photo, one.question) for one in batch])
            found = [self.read(answer, one.photo.size_wh) for answer, one in zip(answers, batch, strict=True)]
            _count(self.asker.name, [one.problem for one in found if one.problem is not None], len(found))
            return found

        windows = opened(pairs, self.prepare, PHOTOS_AT_ONCE, lambda text, _: text)
        return answer_pairs(windows, QUESTIONS_AT_ONCE, work)

    def check_text(self, text: str) -> None:
        """ValueError where a text is empty or too long."""
        if not says_something(text):
            raise ValueError("the text is empty: expected a description of a point")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError(
                "the text holds half of a character (a lone surrogate), which cannot be sent; write it anew"
            )
        if len(text) > MOST_TEXT_CHARS:
            raise ValueError(f"the text has {len(text):,} characters; at most {MOST_TEXT_CHARS:,} are read")

    def question(self, photo: UprightPhoto, text: str) -> Question:
        """Where on a photo a text leads."""
        width, height = self.asker.shown_wh(photo.size_wh)
        words = prompt(self.form.asks, width=width, height=height, text=" ".join(text.split()))
        return Question(photo=photo, pictures=(), words=words, longest=96)

    def read(self, answer: str | Refusal, size_wh: tuple[int, int]) -> FoundPoint:
        """What an answer says, in pixels of the photo; of several points the first, and the second as runner-up.

        A point is there, unless the answer says how likely that is.
        """
        if isinstance(answer, Refusal):
            return replace(NOWHERE, problem=answer.reason)
        try:
            units = self.form.points(answer, self.asker.shown_wh(size_wh))
        except ValueError as error:
            return replace(NOWHERE, problem=f"{error}: {one_line(answer)!r:.80}")
        if not units:
            return replace(NOWHERE, there=0.0)
        points = [(x * size_wh[0], y * size_wh[1]) for x, y in units]
        other = next((point for point in points if point != points[0]), None)
        told = told_there(answer)
        there = 1.0 if told is None else told
        return FoundPoint(point_px=points[0], confidence=None, runner_up_px=other, there=there)


def _count(name: str, problems: Sequence[str], asked: int) -> None:
    """Say how many answers there are none of; never silently."""
    if problems:
        log.warning("%s: no answer to %d of %d questions; the first: %s", name, len(problems), asked, problems[0])
