"""A model behind an OpenAI-compatible endpoint, asked about points."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from talking_points.endpoint import Endpoint, RequestRefusedError
from talking_points.photos import scaled_size
from talking_points.pointing.pairs import OnText
from talking_points.pointing.stock import Question, Refusal

CONCURRENCY = 8
"""Requests side by side. Ours."""


class EndpointAsker:
    """A `stock.Asker`. What a content filter refuses is a `Refusal`; other errors are those of `Endpoint.ask`."""

    shares_photos = False

    def __init__(self, endpoint: Endpoint, *, concurrency: int = CONCURRENCY) -> None:
        """concurrency: requests side by side."""
        self._endpoint, self._concurrency = endpoint, concurrency
        self.name = endpoint.config.model
        self.ring_side_px = endpoint.config.photo_side_px

    def shown_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """Size in which a photo is sent. A server may resize it again: see `talking-points check-model`."""
        return scaled_size(size_wh, min(1.0, self._endpoint.config.photo_side_px / max(size_wh)))

    def ask(self, questions: Sequence[Question], *, on_text: OnText | None = None) -> list[str | Refusal]:
        """Answers in the order of the questions; the first error ends what has not begun."""
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="endpoint")
        try:
            answers = []
            for place, answer in enumerate(pool.map(self._ask, questions)):
                answers.append(answer)
                if on_text is not None and isinstance(answer, str):
                    on_text(place, answer)
            return answers
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self, question: Question) -> str | Refusal:
        pictures = list(question.pictures)
        if question.photo is not None:
            size_wh = self.shown_wh(question.photo.size_wh)
            pictures.insert(0, question.photo.picture.resize(size_wh, Image.Resampling.BICUBIC))
        try:
            return self._endpoint.ask(question.words, pictures, seed=zlib.crc32(question.words.encode()))
        except RequestRefusedError as refusal:
            return Refusal(str(refusal))
